//! Everything that the roles of a process share.

pub(crate) mod applied;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ingest::Enricher;
use metrics::{counter, gauge};
use model::{Clock, LedgerTotals, Project};
use queue::{EventQueue, QueueError, QueueStatus};
use store::{Directory, EventStore, MetaStore};

use crate::{
    admin::types::{DependencyStatus, ProjectReport, QueueReport, ReplicaReport, SchedulerReport, StatusReport},
    config::{Dependency, Role, ServerConfig},
    http::body::BodyMemory,
    ledger::{Ledger, ProjectLedger},
    limit::RateLimiter,
    metrics::Metrics,
    scheduler::{self, Lead},
    worker::Turn,
};

/// The adapters that `wiring` chose, with the names that people see.
pub struct Backends {
    /// The event queue and its kind, such as `embedded`.
    pub queue: (Arc<dyn EventQueue>, &'static str),
    /// The event store and its kind, such as `duckdb`.
    pub store: (Arc<dyn EventStore>, &'static str),
    /// The metadata store and its kind, such as `sqlite`.
    pub meta: (Arc<dyn MetaStore>, &'static str),
    /// Counts for rate limits.
    pub limiter: Arc<dyn RateLimiter>,
    /// Fills in what an event leaves open.
    pub enricher: Arc<Enricher>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The state of a process. Shared by reference counting; none of it is locked across an await.
pub struct Engine {
    /// Settings.
    pub config: ServerConfig,
    /// Keys and scopes.
    pub directory: Directory,
    /// Where events ended.
    pub ledger: Ledger,
    /// Metrics.
    pub metrics: Metrics,
    /// Memory for request bodies.
    pub body_memory: BodyMemory,
    /// Workers that take from the queue.
    pub consumers: AtomicU64,
    /// Held by the worker whose batch is under way.
    pub worker_turn: tokio::sync::Mutex<Turn>,
    /// Held while dead letters are retried or discarded, so that none is retried twice.
    pub dead_letters: tokio::sync::Mutex<()>,
    /// Whether this process is the one scheduler.
    pub lead: Lead,
    /// Events were deleted whose space has not been given back yet.
    pub reclaim_owed: AtomicBool,
    backends: Backends,
    draining: AtomicBool,
}

/// Why an engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The event store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] queue::QueueError),
    /// The metadata store.
    #[error(transparent)]
    Meta(#[from] store::MetaError),
    /// An address or socket.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        cause: std::io::Error,
    },
}

impl Engine {
    /// Reads the ledger and the directory. Nothing runs yet.
    pub async fn load(config: ServerConfig, backends: Backends) -> Result<Arc<Self>, StartError> {
        let applied = backends.store.0.checkpoint(backends.queue.0.id()).await?;
        if !backends.queue.0.is_shared() {
            // Of a shared one others would wait for what is only looked at here.
            applied::acknowledge(&*backends.queue.0, applied).await?;
        }
        let entries = backends.store.0.ledger().await?;
        let status = match backends.queue.0.status().await {
            // A queue that others keep may be away for a while; what it holds is told by it, when it is back, and by no ledger here.
            Err(QueueError::Unavailable(_)) if backends.queue.0.is_shared() => QueueStatus::default(),
            told => told?,
        };
        let directory = Directory::default();
        directory.refresh(&*backends.meta.0).await?;
        Ok(Arc::new(Self {
            config,
            directory,
            ledger: Ledger::load(entries, applied, &status, backends.clock.now()),
            metrics: Metrics::global(),
            body_memory: BodyMemory::default(),
            consumers: AtomicU64::new(0),
            worker_turn: tokio::sync::Mutex::default(),
            dead_letters: tokio::sync::Mutex::default(),
            lead: Lead::default(),
            reclaim_owed: AtomicBool::new(false),
            backends,
            draining: AtomicBool::new(false),
        }))
    }

    /// The event queue.
    pub fn queue(&self) -> &Arc<dyn EventQueue> {
        &self.backends.queue.0
    }

    /// The event store.
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.backends.store.0
    }

    /// The metadata store.
    pub fn meta(&self) -> &Arc<dyn MetaStore> {
        &self.backends.meta.0
    }

    /// The rate limiter.
    pub fn limiter(&self) -> &dyn RateLimiter {
        &*self.backends.limiter
    }

    /// The enricher.
    pub fn enricher(&self) -> &Arc<Enricher> {
        &self.backends.enricher
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.backends.clock
    }

    /// From now on `/health/ready` says no, so that a load balancer looks elsewhere.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Asks each dependency.
    pub async fn dependencies(&self) -> Vec<DependencyStatus> {
        let queue = self.probe(Dependency::Queue, self.backends.queue.1, async {
            self.queue().check().await.map_err(|error| error.to_string())
        });
        let store = self.probe(Dependency::EventStore, self.backends.store.1, async {
            self.store().check().await.map_err(|error| error.to_string())
        });
        let meta = self.probe(Dependency::MetadataStore, self.backends.meta.1, async {
            self.meta().version().await.map(drop).map_err(|error| error.to_string())
        });
        let (queue, mut store, meta) = tokio::join!(queue, store, meta);
        store.replica = self.store().replica().map(|replica| ReplicaReport {
            serves: replica.serves,
            lag_seconds: replica.lag.map(|lag| lag.as_secs_f64()),
            error: replica.trouble,
        });
        vec![queue, store, meta]
    }

    async fn probe(
        &self,
        dependency: Dependency,
        kind: &str,
        check: impl Future<Output = Result<(), String>>,
    ) -> DependencyStatus {
        /// A dependency that is slower than this is not ready, whatever it says later.
        const LIMIT: std::time::Duration = std::time::Duration::from_secs(2);
        let started = tokio::time::Instant::now();
        let outcome = match tokio::time::timeout(LIMIT, check).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        };
        DependencyStatus {
            name: dependency.name().to_owned(),
            kind: kind.to_owned(),
            ready: outcome.is_ok(),
            required: self.config.needs(dependency),
            latency_ms: started.elapsed().as_secs_f64() * 1_000.0,
            error: outcome.err(),
            replica: None,
        }
    }

    /// Whether traffic is welcome.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Everything that `event_status` shows.
    pub async fn status(&self) -> Result<StatusReport, StartError> {
        let now = self.clock().now();
        let dependencies = self.dependencies().await;
        // What is away is told under `dependencies`; the rest of the report is wanted all the more.
        let queue = self.queue().status().await.unwrap_or_default();
        let store = self.store().status(now).await.unwrap_or_default();
        let of_all = self.ledger_of_all(&queue).await;
        let ledger = of_all.as_ref().unwrap_or(&self.ledger);
        let mut projects: Vec<ProjectReport> = self
            .directory
            .projects()
            .into_iter()
            .map(|project| {
                let rows = store.projects.iter().find(|rows| rows.project_id == project.id);
                project_report(project.clone(), rows, ledger.totals(project.id))
            })
            .collect();
        projects.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(StatusReport {
            ready: dependencies.iter().all(DependencyStatus::is_good),
            roles: self.config.roles.iter().map(|role| role.name().to_owned()).collect(),
            dependencies,
            scheduler: self.scheduler().await,
            queue: QueueReport {
                waiting: queue.waiting,
                pending: queue.delivered,
                consumers: self.consumers.load(Ordering::Relaxed),
                consumers_of_all: queue.consumers,
                oldest_waiting_seconds: queue.oldest_received_at.map(|oldest| seconds(now.micros_since(oldest))),
                dead_letters: queue.dead_letters,
                damaged_records: queue.damaged_records,
                bytes: queue.bytes,
                note: queue.note,
            },
            events_stored: store.events,
            store_bytes: store.bytes,
            projects,
            generated_at: now,
        })
    }

    /// Who is the one scheduler; `None`: nobody, or the store does not tell.
    async fn scheduler(&self) -> Option<SchedulerReport> {
        let lease = self.meta().lease(scheduler::LEASE_NAME).await.ok()??;
        Some(SchedulerReport {
            is_this_process: lease.holder == self.lead.name(),
            holder: lease.holder,
            term: lease.term,
            expires_in_seconds: lease.expires_in.as_secs_f64(),
        })
    }

    /// Where the events of all processes ended, when they share a queue: what others store this process does not hear of. `None` when there is
    /// only this one, or the store does not tell.
    async fn ledger_of_all(&self, queue: &QueueStatus) -> Option<Ledger> {
        if !self.queue().is_shared() {
            return None;
        }
        let entries = self.store().ledger().await.ok()?;
        Some(Ledger::load(entries, None, queue, self.clock().now()))
    }

    /// The text of `/metrics`, with the ledger and the queue as they are now.
    pub async fn render_metrics(&self) -> String {
        let queue = self.queue().status().await.ok();
        let of_all = match &queue {
            Some(queue) => self.ledger_of_all(queue).await,
            None => None,
        };
        for ProjectLedger {
            project_id,
            totals,
            outcomes,
        } in of_all.as_ref().unwrap_or(&self.ledger).snapshot()
        {
            let project = project_id.to_string();
            counter!("simple_analytics_events_received_total", "project" => project.clone()).absolute(totals.received);
            for (outcome, count) in outcomes {
                counter!("simple_analytics_events_outcome_total", "project" => project.clone(), "outcome" => outcome.to_string())
                    .absolute(count);
            }
            gauge!("simple_analytics_events_waiting", "project" => project).set(float(totals.waiting));
        }
        if let Some(queue) = queue {
            gauge!("simple_analytics_queue_waiting_events").set(float(queue.waiting));
            gauge!("simple_analytics_queue_dead_letters").set(float(queue.dead_letters));
            gauge!("simple_analytics_queue_damaged_records").set(float(queue.damaged_records));
            gauge!("simple_analytics_queue_bytes").set(float(queue.bytes));
            let oldest = queue
                .oldest_received_at
                .map_or(0, |oldest| self.clock().now().micros_since(oldest));
            self.metrics.oldest_waiting_seconds.set(seconds(oldest));
            #[expect(clippy::cast_precision_loss, reason = "a difference of counts, shown to people")]
            let discrepancy = (self.ledger.waiting() - i64::try_from(queue.waiting).unwrap_or(i64::MAX)) as f64;
            // Of a shared queue this process knows a part.
            if !self.queue().is_shared() {
                gauge!("simple_analytics_ledger_discrepancy_events").set(discrepancy);
            }
        }
        if self.config.has(Role::Scheduler) {
            gauge!("simple_analytics_scheduler_active").set(if self.lead.term().is_some() { 1.0 } else { 0.0 });
        }
        if let Some(replica) = self.store().replica() {
            // Not a number while nobody knows it: the last one known would look like a replica that is well.
            let lag = replica.lag.map_or(f64::NAN, |lag| lag.as_secs_f64());
            gauge!("simple_analytics_replica_lag_seconds").set(lag);
            gauge!("simple_analytics_replica_serves").set(f64::from(u8::from(replica.serves)));
            counter!("simple_analytics_replica_reads_taken_over_total").absolute(replica.reads_taken_over);
        }
        gauge!("simple_analytics_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        self.metrics.render()
    }
}

fn project_report(project: Project, rows: Option<&store::ProjectStatus>, ledger: LedgerTotals) -> ProjectReport {
    ProjectReport {
        id: project.id,
        name: project.name,
        is_active: project.is_active,
        events: rows.map_or(0, |rows| rows.events),
        events_last_hour: rows.map_or(0, |rows| rows.events_last_hour),
        events_last_day: rows.map_or(0, |rows| rows.events_last_day),
        latest_event: rows.and_then(|rows| rows.latest),
        ledger,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shown to people; exact up to 2^53 microseconds, 285 years"
)]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a count for people; exact up to 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
