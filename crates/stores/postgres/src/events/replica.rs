//! A streaming standby that answers readers while it is near enough; else the primary does.
//!
//! How far it is behind is told by positions of the log: those of the primary are noted with the time of noting, and the oldest that the
//! standby has not replayed is as old as the lag. Unlike the standby's own `pg_last_xact_replay_timestamp` this also holds for an idle
//! primary, a standby that lost its connection, and clocks that differ.

mod lag;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use model::limits;
use sqlx::{PgConnection, PgPool};
use store::{ReplicaStatus, StoreError};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use self::lag::Lag;
use crate::{
    connect::{Database, Lease, Session},
    failure::sentence,
};

/// The standby, watched until it is dropped.
pub(super) struct Replica {
    pool: PgPool,
    state: watch::Receiver<State>,
    reads_taken_over: AtomicU64,
    watching: JoinHandle<()>,
}

/// As it was when it was last asked.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    answers: bool,
    serves: bool,
    lag: Option<Duration>,
    trouble: Option<String>,
}

impl Replica {
    /// Begins to watch a standby. When this returns it has been asked once; one that is away is no error.
    pub(super) async fn watch(database: Database, primary: PgPool) -> Self {
        let pool = database.pool(Session::Read, limits::POSTGRES_READ_CONNECTIONS_MAX);
        let mut watcher = Watcher {
            database,
            primary,
            connection: None,
            lag: Lag::default(),
            identity: None,
            serves: false,
        };
        let first = watcher.look().await;
        watcher.log(&first);
        let (sender, state) = watch::channel(first);
        Self {
            pool,
            state,
            reads_taken_over: AtomicU64::default(),
            watching: tokio::spawn(watcher.run(sender)),
        }
    }

    /// Where to read, if reads go to it now.
    pub(super) fn serving(&self) -> Option<&PgPool> {
        self.state.borrow().serves.then_some(&self.pool)
    }

    /// Returns when it does not answer any more: whoever waits for it then waits in vain.
    pub(super) async fn gone(&self) -> StoreError {
        let mut state = self.state.clone();
        let trouble = match state.wait_for(|state| !state.answers).await {
            Ok(state) => state.trouble.clone(),
            Err(_) => None,
        };
        StoreError::Unavailable(trouble.unwrap_or_else(|| "the replica is watched no more".to_owned()))
    }

    /// A read goes to the primary instead.
    pub(super) fn taken_over(&self, error: &StoreError) {
        self.reads_taken_over.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "the replica could not answer a read: the primary does");
    }

    pub(super) fn status(&self) -> ReplicaStatus {
        let state = self.state.borrow().clone();
        ReplicaStatus {
            serves: state.serves,
            lag: state.lag,
            trouble: state.trouble,
            reads_taken_over: self.reads_taken_over.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn close(&self) {
        self.watching.abort();
        self.pool.close().await;
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Asks both again and again.
struct Watcher {
    database: Database,
    primary: PgPool,
    /// To the standby; `None` after anything went wrong with it.
    connection: Option<PgConnection>,
    lag: Lag,
    /// The primary's, since it was first asked.
    identity: Option<Identity>,
    serves: bool,
}

/// Which database of which cluster: equal on a primary and its standbys, and nowhere else.
type Identity = (i64, i64);

/// What a standby says of itself.
struct Standby {
    is_in_recovery: bool,
    /// Up to where in the primary's log.
    replayed: Option<i64>,
    identity: Identity,
}

impl Watcher {
    async fn run(mut self, sender: watch::Sender<State>) {
        let mut ticks = tokio::time::interval(limits::POSTGRES_REPLICA_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let state = self.look().await;
            let before = sender.send_replace(state.clone());
            if (before.serves, before.answers) != (state.serves, state.answers) {
                self.log(&state);
            }
        }
    }

    fn log(&self, state: &State) {
        match &state.trouble {
            None => tracing::info!(replica = %self.database, "reads go to the replica"),
            Some(trouble) => tracing::warn!(replica = %self.database, trouble, "reads go to the primary"),
        }
    }

    /// Asks the primary, then the standby: one that keeps up has replayed by then what the primary tells.
    async fn look(&mut self) -> State {
        // While the primary is away nothing is written either, and the standby answers as before.
        if let Ok(Ok((position, cluster, database))) = in_time(ask_primary(&self.primary)).await {
            self.identity = Some((cluster, database));
            self.lag.primary_is_at(position, Instant::now());
        }
        let connection = self.connection.take();
        let answer = match in_time(ask_standby(&self.database, connection)).await {
            Ok(answer) => answer.map_err(|error| sentence(&error)),
            Err(_) => Err(format!("no answer within {:?}", limits::POSTGRES_REPLICA_TIMEOUT)),
        };
        let state = match answer {
            Ok((standby, connection)) => {
                self.connection = Some(connection);
                self.judge(&standby)
            }
            Err(trouble) => State {
                trouble: Some(format!("it is away: {trouble}")),
                ..State::default()
            },
        };
        self.serves = state.serves;
        state
    }

    fn judge(&mut self, standby: &Standby) -> State {
        let lag = match standby.replayed {
            Some(position) if standby.is_in_recovery => self.lag.of_standby_at(position, Instant::now()),
            _ => None,
        };
        let trouble = self.trouble(standby, lag);
        State {
            answers: true,
            serves: trouble.is_none(),
            lag,
            trouble,
        }
    }

    /// Why reads cannot go to it.
    fn trouble(&self, standby: &Standby, lag: Option<Duration>) -> Option<String> {
        if !standby.is_in_recovery {
            return Some(
                "it is no standby, it takes writes itself: name a streaming standby of DATABASE_URL's server"
                    .to_owned(),
            );
        }
        if self.identity.is_some_and(|primary| primary != standby.identity) {
            return Some("it is a copy of another database than that of DATABASE_URL".to_owned());
        }
        if standby.replayed.is_none() {
            return Some("it does not tell how far it is: only streaming standbys do".to_owned());
        }
        let most = if self.serves {
            limits::POSTGRES_REPLICA_LAG_MAX
        } else {
            limits::POSTGRES_REPLICA_LAG_RETURN
        };
        match lag {
            None => Some("it has not come to where the primary was when it was first asked".to_owned()),
            Some(lag) if lag > most => Some(format!(
                "it is {:.1} s behind, and reads go to it below {:.1} s",
                lag.as_secs_f64(),
                most.as_secs_f64()
            )),
            Some(_) => None,
        }
    }
}

async fn in_time<T>(asking: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(limits::POSTGRES_REPLICA_TIMEOUT, asking).await
}

/// Up to where the primary's log is on disk, with who it is.
async fn ask_primary(primary: &PgPool) -> sqlx::Result<(i64, i64, i64)> {
    let mut lease = Lease::take(primary).await?;
    let told = sqlx::query_as(
        "select pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint, (select system_identifier from pg_control_system()), \
         (select oid::bigint from pg_database where datname = current_database())",
    )
    .fetch_one(&mut *lease)
    .await?;
    lease.give_back();
    Ok(told)
}

/// Asks on this connection, or on a new one, which is given back when it is as good as before.
async fn ask_standby(database: &Database, connection: Option<PgConnection>) -> sqlx::Result<(Standby, PgConnection)> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => database.connect(Session::Read).await?,
    };
    let (is_in_recovery, replayed, cluster, database) = sqlx::query_as(
        "select pg_is_in_recovery(), pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint, \
         (select system_identifier from pg_control_system()), (select oid::bigint from pg_database where datname = current_database())",
    )
    .fetch_one(&mut connection)
    .await?;
    let standby = Standby {
        is_in_recovery,
        replayed,
        identity: (cluster, database),
    };
    Ok((standby, connection))
}
