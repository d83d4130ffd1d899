//! Rows that are not in order, limits, and settings that make no sense.

use model::{
    Timestamp,
    limits::{SEQUENCE_ACTOR_EVENTS_MAX, SEQUENCE_CELLS_MAX},
};

use super::support::buckets;
use crate::kernels::{
    Attribution, Breakdown, Buckets, CountRow, Criterion, Exclusion, FunnelKernel, FunnelOrder, FunnelRow,
    FunnelSettings, FunnelView, KernelError, LifecycleKernel, PathsKernel, PathsSettings, StickinessKernel,
};

fn funnel() -> FunnelSettings {
    FunnelSettings {
        steps: 2,
        order: FunnelOrder::Ordered,
        window_micros: 10,
        exclusions: Vec::new(),
        view: FunnelView::Steps(None),
    }
}

fn row(actor: u32, time_micros: i64) -> FunnelRow {
    FunnelRow {
        actor,
        value: 0,
        time_micros,
        steps: 1,
        exclusions: 0,
    }
}

#[test]
fn rows_that_are_not_ordered_by_actor_and_time_are_refused() {
    for (first, second) in [((2, 5), (2, 4)), ((2, 5), (1, 6))] {
        let mut kernel = FunnelKernel::new(funnel()).unwrap();
        kernel.push(row(first.0, first.1)).unwrap();
        let refused = KernelError::OutOfOrder {
            actor: second.0,
            time_micros: second.1,
            previous_actor: first.0,
            previous_time_micros: first.1,
        };
        assert_eq!(kernel.push(row(second.0, second.1)), Err(refused));
    }
    let mut kernel = StickinessKernel::new(buckets(&[0, 1]), Criterion::AtLeast(1), false);
    let count = |actor| CountRow {
        actor,
        count: 1,
        time_micros: 0,
    };
    kernel.push(count(1)).unwrap();
    assert!(matches!(kernel.push(count(0)), Err(KernelError::OutOfOrder { .. })));
}

#[test]
fn an_actor_with_more_events_than_are_looked_at_together_is_refused() {
    let mut kernel = FunnelKernel::new(funnel()).unwrap();
    for _ in 0..SEQUENCE_ACTOR_EVENTS_MAX {
        kernel.push(row(1, 7)).unwrap();
    }
    let limit = SEQUENCE_ACTOR_EVENTS_MAX;
    assert_eq!(kernel.push(row(1, 7)), Err(KernelError::ActorTooLong { limit }));
}

#[test]
fn more_values_than_are_counted_are_refused() {
    let view = FunnelView::Steps(Some((Breakdown { limit: 1 }, Attribution::FirstTouch)));
    let mut kernel = FunnelKernel::new(FunnelSettings { view, ..funnel() }).unwrap();
    let with = |value| FunnelRow { value, ..row(1, 7) };
    kernel.push(with((SEQUENCE_CELLS_MAX / 2) as u32)).unwrap();
    let refused = kernel.finish(|left, right| left.cmp(&right));
    assert!(matches!(refused, Err(KernelError::TooManyGroups { .. })), "{refused:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let exclusion = |from_step, to_step| Exclusion { from_step, to_step };
    let funnels = [
        FunnelSettings { steps: 1, ..funnel() },
        FunnelSettings { steps: 21, ..funnel() },
        FunnelSettings {
            window_micros: -1,
            ..funnel()
        },
        FunnelSettings {
            exclusions: vec![exclusion(1, 1)],
            ..funnel()
        },
        FunnelSettings {
            exclusions: vec![exclusion(0, 2)],
            ..funnel()
        },
        FunnelSettings {
            exclusions: vec![exclusion(0, 1)],
            order: FunnelOrder::Unordered,
            ..funnel()
        },
        FunnelSettings {
            view: FunnelView::Steps(Some((Breakdown { limit: 1 }, Attribution::Step(2)))),
            ..funnel()
        },
    ];
    for settings in funnels {
        let refused = FunnelKernel::new(settings.clone());
        assert!(matches!(refused, Err(KernelError::Settings(_))), "{settings:?}");
    }
    let at = |micros| Timestamp::from_micros(micros).unwrap();
    for edges in [vec![], vec![at(1)], vec![at(1), at(1)], vec![at(1), at(3), at(2)]] {
        assert!(
            matches!(Buckets::new(&edges), Err(KernelError::Settings(_))),
            "{edges:?}"
        );
    }
    assert!(LifecycleKernel::new(buckets(&[0, 1])).is_err());
    for max_steps in [1, 21] {
        let settings = PathsSettings {
            start: None,
            end: None,
            max_steps,
            gap_micros: None,
            limit: 1,
        };
        assert!(PathsKernel::new(settings).is_err(), "{max_steps}");
    }
}
