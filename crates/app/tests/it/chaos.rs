//! The production stack under load while everything in it is killed, stopped, frozen and cut off in turn: what was answered with 202 is
//! stored exactly once, nothing else is, and nobody has to do anything.

mod cluster;

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use testkit::proxy::Network;

use self::cluster::{APIS, Cluster, bring_back};
use crate::{crash::load::Clients, harness::Server};

const CLIENTS: usize = 6;
/// Length of the gate's test; `CHAOS_TEST_SECONDS` asks for another.
const SECONDS: u64 = 60;
/// From so many seconds on, outages are long.
const FULL_SECONDS: u64 = 120;
/// Time in which the largest load is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// Time for a start, the measurement, and what is looked at in the end.
const AROUND: Duration = Duration::from_secs(20);
/// The lag that must come back.
const LAG: Duration = Duration::from_secs(2);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// SIGKILL of a process, by its place in the cluster.
    Kill(usize),
    KillRedis,
    KillPostgres,
    FreezeRedis,
    FreezePostgres,
    /// Between the first process and Redis.
    Network(Network),
}

const BREAKS: [Break; 12] = [
    Break::Kill(0),
    Break::Kill(1),
    Break::Kill(2),
    Break::Kill(3),
    Break::Kill(4),
    Break::Kill(5),
    Break::KillRedis,
    Break::KillPostgres,
    Break::FreezeRedis,
    Break::FreezePostgres,
    Break::Network(Network::Cuts),
    Break::Network(Network::Holds),
];

/// How long outages are.
struct Outages {
    down: Duration,
    frozen: Duration,
    cut: Duration,
}

const SHORT: Outages = Outages {
    down: Duration::from_millis(500),
    // Longer than Redis' answer may take.
    frozen: Duration::from_millis(3_500),
    cut: Duration::from_secs(3),
};
const LONG: Outages = Outages {
    down: Duration::from_secs(5),
    frozen: Duration::from_secs(20),
    cut: Duration::from_secs(10),
};

impl Cluster {
    /// Breaks something and mends it; `random` chooses who is killed beside.
    fn suffer(&mut self, what: Break, outages: &Outages, random: &mut StdRng) {
        let Self {
            processes,
            redis,
            postgres,
            network,
            ..
        } = self;
        // Somebody dies, and is started again, while what it needs is away.
        let victim = random.random_range(0..processes.len());
        match what {
            Break::Kill(place) => {
                processes[place].kill();
                std::thread::sleep(outages.down.mul_f64(random.random()));
                bring_back(&mut processes[place]);
            }
            Break::KillRedis => {
                redis.kill();
                std::thread::sleep(outages.down);
                redis.start_again();
            }
            Break::KillPostgres => {
                postgres.kill();
                std::thread::sleep(outages.down);
                postgres.start_again();
            }
            Break::FreezeRedis => {
                redis.freeze();
                kill_during(outages.frozen, &mut processes[victim], || redis.thaw());
            }
            Break::FreezePostgres => {
                postgres.freeze();
                kill_during(outages.frozen, &mut processes[victim], || postgres.thaw());
            }
            Break::Network(way) => {
                network.set(way);
                kill_during(outages.cut, &mut processes[0], || network.set(Network::Works));
            }
        }
    }
}

/// Kills a process in the middle of an outage, and has it started again before the end of it.
fn kill_during(outage: Duration, process: &mut Server, mend: impl FnOnce()) {
    std::thread::sleep(outage / 2);
    process.kill();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| bring_back(process));
        std::thread::sleep(outage / 2);
        mend();
        starting.join().expect("a start");
    });
}

/// Events a second that the cluster takes and stores, and what was promised meanwhile.
fn measure(cluster: &Cluster) -> (u64, crate::crash::journal::Journal) {
    let started = Instant::now();
    let clients = Clients::start("measured", CLIENTS, &cluster.urls(), cluster.processes[0].public_key());
    std::thread::sleep(MEASURED);
    let (journal, _) = clients.stop();
    cluster.processes[0].wait_for_stored(journal.len() as u64);
    let rate = journal.len() as f64 / started.elapsed().as_secs_f64();
    (rate as u64, journal)
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn the_stack_loses_and_doubles_nothing_whatever_breaks() {
    let told = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let seconds = told("CHAOS_TEST_SECONDS").unwrap_or(SECONDS);
    let seed = told("CHAOS_TEST_SEED").unwrap_or_else(|| rand::rng().random());
    println!("CHAOS_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start();
    let (rate, mut journal) = measure(&cluster);
    println!("at most {rate} events/s");
    let clients = Clients::start("chaos", CLIENTS, &cluster.urls(), cluster.processes[0].public_key());
    clients.set_rate((rate / 2).max(1));

    let end = Instant::now() + Duration::from_secs(seconds).saturating_sub(AROUND);
    let mut outages = if seconds >= FULL_SECONDS { &LONG } else { &SHORT };
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        let mut breaks = BREAKS;
        breaks.shuffle(&mut random);
        for what in breaks {
            if round > 0 && Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
            let (before, began) = (clients.promised(), Instant::now());
            cluster.suffer(what, outages, &mut random);
            println!(
                "{what:?}: {} events promised in {:?}",
                clients.promised() - before,
                began.elapsed()
            );
            for place in 0..APIS {
                clients.set_url(place, &cluster.processes[place].url);
            }
            cluster.expect_running();
        }
        outages = &SHORT;
        round += 1;
    }
    // Still under load.
    cluster.wait_for_lag(LAG);
    let (promised, sent_again) = clients.stop();
    assert!(promised.len() > 500, "the test must have had something to lose");
    journal.merge(promised);
    cluster.expect_exactly(&journal, sent_again);
    println!("{} events promised and stored", journal.len());
}
