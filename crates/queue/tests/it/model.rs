//! The embedded queue against a model: any order of calls, failures of the disk and power cuts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use queue::{Delivery, EmbeddedQueue, EventQueue, Position};

use super::{
    common::{number_of, open, record},
    simulated::{Call, Fault, SimulatedFiles},
};

#[derive(Clone, Debug)]
enum Step {
    /// So many records, with payloads of so many bytes.
    Append {
        records: u8,
        payload_bytes: u16,
    },
    /// The same while the disk fails.
    AppendFailing {
        records: u8,
        call: Call,
        written_bytes: u16,
    },
    Read(u8),
    /// Of what is out, those that the bits select.
    Acknowledge(u16),
    Return(u16),
    DeadLetter,
    /// Lets the keeper's work be done.
    Reopen {
        close: bool,
    },
    PowerCut(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop_oneof![
        Just(Call::Write),
        Just(Call::Sync),
        Just(Call::Create),
        Just(Call::SyncDirectory)
    ];
    prop_oneof![
        6 => (1..6u8, 0..700u16).prop_map(|(records, payload_bytes)| Step::Append { records, payload_bytes }),
        2 => (1..6u8, call, 0..900u16)
            .prop_map(|(records, call, written_bytes)| Step::AppendFailing { records, call, written_bytes }),
        4 => (1..20u8).prop_map(Step::Read),
        4 => any::<u16>().prop_map(Step::Acknowledge),
        2 => any::<u16>().prop_map(Step::Return),
        1 => Just(Step::DeadLetter),
        1 => any::<bool>().prop_map(|close| Step::Reopen { close }),
        1 => proptest::collection::vec(any::<u8>(), 8).prop_map(Step::PowerCut),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The append returned: it must come.
    Promised,
    /// The append failed: it may come.
    Possible,
    /// Acknowledged in this run: it must not come before the next one.
    Done,
    /// Acknowledged in an earlier run: it may come again.
    DoneBefore,
}

/// What the queue must do, and what it has done.
struct Model {
    files: SimulatedFiles,
    queue: EmbeddedQueue,
    /// By number, in the order of appends.
    fates: Vec<Fate>,
    /// The number that the queue may deliver next at the earliest.
    next: usize,
    out: BTreeMap<Position, (usize, Delivery)>,
    returned: BTreeMap<Position, usize>,
    /// Which record each position was ever given to.
    given: BTreeMap<Position, usize>,
    dead: BTreeSet<Position>,
}

impl Model {
    async fn append(&mut self, count: u8, payload_bytes: u16) {
        let first = self.fates.len();
        let records = (first..first + usize::from(count)).map(|number| record(number, payload_bytes.into()));
        let fate = match self.queue.append(records.collect()).await {
            Ok(()) => Fate::Promised,
            Err(_) => Fate::Possible,
        };
        self.fates.resize(first + usize::from(count), fate);
    }

    fn take(&mut self, delivery: Delivery) {
        let number = number_of(&delivery.record);
        let before = *self.given.entry(delivery.position).or_insert(number);
        assert_eq!(before, number, "{:?} was given to two records", delivery.position);
        assert!(!self.dead.contains(&delivery.position) || self.fates[number] != Fate::Done);
        if let Some((first, _)) = self.returned.first_key_value() {
            assert_eq!(delivery.position, *first, "given back, so it comes first");
            self.returned.pop_first();
            assert!(delivery.attempt > 1);
        } else {
            let skipped = &self.fates[self.next..number.max(self.next)];
            assert!(
                number >= self.next,
                "{number} came again or out of order, {} was next",
                self.next
            );
            assert!(
                !skipped.contains(&Fate::Promised),
                "promised and skipped: {skipped:?} from {}",
                self.next
            );
            assert_ne!(self.fates[number], Fate::Done);
            assert_eq!(delivery.attempt, 1);
            self.next = number + 1;
            // From now on it is there for good.
            self.fates[number] = Fate::Promised;
        }
        self.out.insert(delivery.position, (number, delivery));
    }

    async fn read(&mut self, count: u8) {
        for delivery in self.queue.read(count.into(), Duration::ZERO).await.unwrap() {
            self.take(delivery);
        }
    }

    fn selected(&self, bits: u16) -> Vec<Position> {
        let selected = self
            .out
            .keys()
            .enumerate()
            .filter(|(index, _)| bits >> (index % 16) & 1 == 1);
        selected.map(|(_, position)| *position).collect()
    }

    async fn acknowledge(&mut self, bits: u16) {
        let positions = self.selected(bits);
        self.queue.acknowledge(&positions).await.unwrap();
        for position in positions {
            let (number, _) = self.out.remove(&position).unwrap();
            self.fates[number] = Fate::Done;
        }
    }

    async fn give_back(&mut self, bits: u16) {
        let positions = self.selected(bits);
        self.queue.retry(&positions, Duration::ZERO).await.unwrap();
        for position in positions {
            let (number, _) = self.out.remove(&position).unwrap();
            self.returned.insert(position, number);
        }
    }

    async fn dead_letter(&mut self) {
        let Some((position, (number, delivery))) = self.out.pop_first() else {
            return;
        };
        self.queue.dead_letter(&delivery, "because").await.unwrap();
        self.queue.acknowledge(&[position]).await.unwrap();
        self.fates[number] = Fate::Done;
        self.dead.insert(position);
    }

    /// Goes on with other files; the old queue is gone.
    fn reopened(&mut self, files: SimulatedFiles) {
        // The old queue holds the old files until it is replaced; copies have no lock.
        self.queue = open(&files);
        self.files = files;
        self.out.clear();
        self.returned.clear();
        self.next = 0;
        for fate in &mut self.fates {
            if *fate == Fate::Done {
                *fate = Fate::DoneBefore;
            }
        }
    }

    async fn check_status(&self) {
        let status = self.queue.status().await.unwrap();
        let promised = self.fates.iter().filter(|fate| **fate == Fate::Promised).count() as u64;
        let loose = self
            .fates
            .iter()
            .filter(|fate| matches!(fate, Fate::Possible | Fate::DoneBefore))
            .count() as u64;
        assert!(
            status.waiting >= promised,
            "{} waiting, {promised} promised",
            status.waiting
        );
        assert!(
            status.waiting <= promised + loose,
            "{} waiting, {promised} promised",
            status.waiting
        );
        assert_eq!(status.waiting, status.waiting_by_project.values().sum::<u64>());
        assert_eq!(status.delivered, self.out.len() as u64);
        assert_eq!(status.dead_letters, self.dead.len() as u64);
        assert_eq!(status.damaged_records, 0, "nothing was damaged");
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Append { records, payload_bytes } => self.append(records, payload_bytes).await,
            Step::AppendFailing {
                records,
                call,
                written_bytes,
            } => {
                self.files.inject(Fault {
                    call,
                    name: "/queue",
                    kind: std::io::ErrorKind::Other,
                    times: 1,
                    written_bytes: written_bytes.into(),
                });
                self.append(records, 100).await;
                self.files.heal();
            }
            Step::Read(count) => self.read(count).await,
            Step::Acknowledge(bits) => self.acknowledge(bits).await,
            Step::Return(bits) => self.give_back(bits).await,
            Step::DeadLetter => self.dead_letter().await,
            Step::Reopen { close } => {
                if close {
                    self.queue.close().await.unwrap();
                }
                self.reopened(self.files.copy());
            }
            Step::PowerCut(choices) => {
                let mut choices = choices.into_iter().cycle();
                let cut = self
                    .files
                    .after_power_cut(|most| u64::from(choices.next().unwrap_or(0)) * (most + 1) / 256);
                self.reopened(cut);
            }
        }
    }

    /// In the end everything promised comes, and the queue is empty.
    async fn drain(&mut self) {
        self.queue.close().await.unwrap();
        self.reopened(self.files.copy());
        loop {
            let before = self.next;
            self.read(100).await;
            if self.next == before {
                break;
            }
        }
        assert!(
            !self.fates[self.next..].contains(&Fate::Promised),
            "promised and never came"
        );
        self.acknowledge(u16::MAX).await;
        let status = self.queue.status().await.unwrap();
        assert_eq!((status.waiting, status.damaged_records), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_calls_failures_and_power_cuts_keeps_every_promise(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        runtime.block_on(async {
            let files = SimulatedFiles::default();
            let mut model = Model {
                queue: open(&files),
                files,
                fates: Vec::new(),
                next: 0,
                out: BTreeMap::new(),
                returned: BTreeMap::new(),
                given: BTreeMap::new(),
                dead: BTreeSet::new(),
            };
            for step in steps {
                model.run(step).await;
                model.check_status().await;
            }
            model.drain().await;
        });
    }
}
