//! What the sequence kernels cost in time: `cargo run --release -p query --example kernel_rate`.
//!
//! 10 million events of 30 days, one thread. Rows are made before, and a funnel only gets those that a store would send. Prints rows by
//! second of processor time, the median of five rounds.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot run should say so and stop")]

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use model::Timestamp;
use query::kernels::{
    Attribution, Breakdown, Buckets, CountRow, Criterion, Exclusion, FunnelKernel, FunnelOrder, FunnelRow,
    FunnelSettings, FunnelView, KernelError, LifecycleKernel, PathsKernel, PathsRow, PathsSettings, RetentionKernel,
    RetentionMode, RetentionRow, RetentionSettings, SessionRow, SessionsBy, SessionsKernel, StickinessKernel,
};

const EVENTS: usize = 10_000_000;
const ROUNDS: usize = 5;
const DAY_MICROS: i64 = 86_400_000_000;
const DAYS: i64 = 30;
/// Half of the actors have fewer events, a few have very many.
const EVENTS_PER_ACTOR: u64 = 40;

/// An event before it is a row of one kind.
#[derive(Clone, Copy)]
struct Event {
    user: u32,
    session: u32,
    time_micros: i64,
    /// Which of ten events it is, the first ones more often.
    name: u32,
    page: u32,
}

/// Events by user and time: visits of some minutes, as many as make a user's share.
struct Events {
    state: u64,
    user: u32,
    session: u32,
    time_micros: i64,
    left_of_user: u64,
    left_of_session: u64,
}

impl Events {
    fn random(&mut self) -> u64 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn next(&mut self) -> Event {
        if self.left_of_user == 0 {
            self.user += 1;
            self.left_of_session = 0;
            self.time_micros = (self.random() % DAY_MICROS as u64) as i64;
            let share = 1 + self.random() % (2 * EVENTS_PER_ACTOR);
            self.left_of_user = if self.random().is_multiple_of(1_000) {
                share * 100
            } else {
                share
            };
        }
        if self.left_of_session == 0 {
            self.session += 1;
            self.left_of_session = 1 + self.random() % 13;
            let pause = (self.random() % (4 * DAY_MICROS as u64)) as i64;
            self.time_micros = (self.time_micros + pause).min(DAYS * DAY_MICROS - 1);
        }
        self.left_of_user -= 1;
        self.left_of_session -= 1;
        let pause = (self.random() % 60_000_000) as i64;
        self.time_micros = (self.time_micros + pause).min(DAYS * DAY_MICROS - 1);
        let (left, right) = (self.random() % 10, self.random() % 10);
        Event {
            user: self.user,
            session: self.session,
            time_micros: self.time_micros,
            name: left.min(right) as u32,
            page: (left * right + self.random() % 7) as u32,
        }
    }
}

/// Processor time of this thread so far where the system tells it (Linux), else time since `start`.
fn spent(start: Instant) -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Rows a second of a kernel that answers with some number.
fn measure<Kernel, Row: Copy>(
    name: &str,
    make: impl Fn() -> Kernel,
    row: impl Fn(Event) -> Option<Row>,
    push: impl Fn(&mut Kernel, Row) -> Result<(), KernelError>,
    finish: impl Fn(Kernel) -> u64,
) {
    let mut events = Events {
        state: 7,
        user: 0,
        session: 0,
        time_micros: 0,
        left_of_user: 0,
        left_of_session: 0,
    };
    let rows: Vec<Row> = (0..EVENTS).filter_map(|_| row(events.next())).collect();
    let clock = Instant::now();
    let mut rates = Vec::new();
    let mut answer = 0;
    for _ in 0..ROUNDS {
        let before = spent(clock);
        let mut kernel = make();
        for row in black_box(&rows) {
            push(&mut kernel, *row).unwrap();
        }
        answer = black_box(finish(kernel));
        let taken = spent(clock).saturating_sub(before);
        rates.push(rows.len() as f64 / taken.as_secs_f64() / 1e6);
    }
    rates.sort_by(f64::total_cmp);
    let (median, best) = (rates[ROUNDS / 2], rates[ROUNDS - 1]);
    let count = rows.len();
    println!("{name:<34} {median:>7.1} M rows/s (best {best:.1})   {count:>9} rows   ({answer})");
}

fn days(count: i64) -> Buckets {
    let edges: Vec<Timestamp> = (0..=count)
        .map(|day| Timestamp::from_micros(day * DAY_MICROS).unwrap())
        .collect();
    Buckets::new(&edges).unwrap()
}

fn funnel(order: FunnelOrder, steps: usize, exclusions: Vec<Exclusion>, view: FunnelView) -> FunnelSettings {
    FunnelSettings {
        steps,
        order,
        window_micros: 14 * DAY_MICROS,
        exclusions,
        view,
    }
}

fn measure_funnel(name: &str, settings: FunnelSettings) {
    let needs_all = settings.order == FunnelOrder::Strict;
    let steps = settings.steps as u32;
    measure(
        name,
        || FunnelKernel::new(settings.clone()).unwrap(),
        |event| {
            let row = FunnelRow {
                actor: event.user,
                value: event.page % 20,
                time_micros: event.time_micros,
                steps: if event.name < steps { 1 << event.name } else { 0 },
                exclusions: u32::from(event.name == 9),
            };
            (needs_all || row.steps | row.exclusions != 0).then_some(row)
        },
        FunnelKernel::push,
        |kernel| format!("{:?}", kernel.finish(|left, right| left.cmp(&right)).unwrap()).len() as u64,
    );
}

fn measure_funnels() {
    let plain = || FunnelView::Steps(None);
    measure_funnel("funnel, 3 steps", funnel(FunnelOrder::Ordered, 3, Vec::new(), plain()));
    measure_funnel("funnel, 6 steps", funnel(FunnelOrder::Ordered, 6, Vec::new(), plain()));
    let by_value = FunnelView::Steps(Some((Breakdown { limit: 10 }, Attribution::FirstTouch)));
    measure_funnel(
        "funnel, 3 steps by a value",
        funnel(FunnelOrder::Ordered, 3, Vec::new(), by_value),
    );
    let excluded = vec![Exclusion {
        from_step: 0,
        to_step: 1,
    }];
    measure_funnel(
        "funnel, 3 steps, an exclusion",
        funnel(FunnelOrder::Ordered, 3, excluded, plain()),
    );
    measure_funnel(
        "funnel, 3 steps, strict",
        funnel(FunnelOrder::Strict, 3, Vec::new(), plain()),
    );
    measure_funnel(
        "funnel, 3 steps, unordered",
        funnel(FunnelOrder::Unordered, 3, Vec::new(), plain()),
    );
    measure_funnel(
        "funnel, 3 steps, trend",
        funnel(FunnelOrder::Ordered, 3, Vec::new(), FunnelView::Trend(days(DAYS))),
    );
}

fn measure_intervals() {
    let count_row = |event: Event| CountRow {
        actor: event.user,
        count: 1,
        time_micros: event.time_micros,
    };
    let retention = RetentionSettings {
        buckets: days(DAYS),
        periods: DAYS as usize,
        is_full: false,
        mode: RetentionMode::Recurring,
        is_cumulative: false,
        minimum_occurrences: 1,
        breakdown: None,
        now: Timestamp::MAX,
    };
    measure(
        "retention, 30 days, recurring",
        || RetentionKernel::new(retention.clone()).unwrap(),
        |event| {
            Some(RetentionRow {
                actor: event.user,
                value: 0,
                time_micros: event.time_micros,
                starts: u32::from(event.name == 0),
                returns: 1,
            })
        },
        RetentionKernel::push,
        |kernel| kernel.finish(|left, right| left.cmp(&right)).unwrap()[0].cohorts[0].size,
    );
    measure(
        "lifecycle, 30 days",
        || LifecycleKernel::new(days(DAYS)).unwrap(),
        |event| Some(count_row(event)),
        LifecycleKernel::push,
        |kernel| kernel.finish().returning.iter().sum(),
    );
    measure(
        "stickiness, 30 days",
        || StickinessKernel::new(days(DAYS), Criterion::AtLeast(1), false),
        |event| Some(count_row(event)),
        StickinessKernel::push,
        |kernel| kernel.finish()[2],
    );
}

fn measure_visits() {
    let paths = PathsSettings {
        start: None,
        end: None,
        max_steps: 5,
        gap_micros: None,
        limit: 50,
    };
    measure(
        "paths, 5 items of 88, by session",
        || PathsKernel::new(paths).unwrap(),
        |event| {
            Some(PathsRow {
                actor: event.session,
                item: event.page,
                time_micros: event.time_micros,
            })
        },
        PathsKernel::push,
        |kernel| kernel.finish(|left, right| left.cmp(&right)).unwrap().edges[0].count,
    );
    for (name, by) in [
        ("sessions, totals and 30 days", None),
        ("sessions by entry page", Some(SessionsBy::EntryPage)),
        ("sessions by page", Some(SessionsBy::EachEvent)),
    ] {
        measure(
            name,
            || SessionsKernel::new(days(DAYS), by),
            |event| {
                Some(SessionRow {
                    session: event.session,
                    user: event.user,
                    time_micros: event.time_micros,
                    value: event.page,
                    is_page_view: event.name < 2,
                })
            },
            SessionsKernel::push,
            |kernel| kernel.finish().unwrap().total.visitors,
        );
    }
}

fn main() {
    measure_funnels();
    measure_intervals();
    measure_visits();
}
