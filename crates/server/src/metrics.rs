//! What `/metrics` shows: Prometheus text, names with units, few and bounded labels.

use std::{sync::OnceLock, time::Duration};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds; from a fast in-memory answer to a slow query.
const LATENCY_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];
/// Events of a batch.
const SIZE_BUCKETS: [f64; 8] = [1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0];

/// What answers a request, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /api/events/ingest/`
    Ingest,
    /// `POST /api/events/batch/`
    Batch,
    /// Everything that reads.
    Reading,
}

impl Endpoint {
    const ALL: [Self; 3] = [Self::Ingest, Self::Batch, Self::Reading];

    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Batch => "batch",
            Self::Reading => "reading",
        }
    }
}

/// Handles to the metrics of this process, looked up once.
#[derive(Clone)]
pub struct Metrics {
    prometheus: PrometheusHandle,
    request_seconds: [Histogram; 3],
    accepted_requests: [Counter; 3],
    /// Events of each batch that was stored.
    pub batch_events: Histogram,
    /// From reading a batch to its acknowledgement.
    pub batch_seconds: Histogram,
    /// From receipt to stored, of the oldest event of each batch.
    pub lag_seconds: Histogram,
    /// Batches that the store could not take at once.
    pub store_retries: Counter,
    /// Age of the oldest waiting event.
    pub oldest_waiting_seconds: Gauge,
    /// Runs of retention that this process began as the one scheduler.
    pub retention_runs: Counter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Metrics {
    /// The process's metrics. The recorder is installed at the first call.
    pub fn global() -> Self {
        static METRICS: OnceLock<Metrics> = OnceLock::new();
        METRICS.get_or_init(Self::install).clone()
    }

    fn install() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_batch_events".to_owned()), &SIZE_BUCKETS)
            })
            .unwrap_or_else(|_| PrometheusBuilder::new())
            .build_recorder();
        let prometheus = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics stays empty");
        }
        describe();
        describe_scheduler();
        Self {
            prometheus,
            request_seconds: Endpoint::ALL
                .map(|endpoint| histogram!("simple_analytics_http_request_seconds", "endpoint" => endpoint.name())),
            accepted_requests: Endpoint::ALL
                .map(|endpoint| counter!("simple_analytics_http_requests_total", "endpoint" => endpoint.name(), "code" => "ok")),
            batch_events: histogram!("simple_analytics_store_batch_events"),
            batch_seconds: histogram!("simple_analytics_store_batch_seconds"),
            lag_seconds: histogram!("simple_analytics_event_lag_seconds"),
            store_retries: counter!("simple_analytics_store_retries_total"),
            oldest_waiting_seconds: gauge!("simple_analytics_queue_oldest_waiting_seconds"),
            retention_runs: counter!("simple_analytics_retention_runs_total"),
        }
    }

    /// A request was answered; `code` is the machine word of its error, `None` for success.
    pub fn request(&self, endpoint: Endpoint, code: Option<&'static str>, elapsed: Duration) {
        self.request_seconds[endpoint as usize].record(elapsed.as_secs_f64());
        match code {
            None => self.accepted_requests[endpoint as usize].increment(1),
            Some(code) => {
                counter!("simple_analytics_http_requests_total", "endpoint" => endpoint.name(), "code" => code)
                    .increment(1);
            }
        }
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        self.prometheus.render()
    }

    /// Folds what was recorded since the last call, so that memory stays bounded when nobody scrapes.
    pub fn upkeep(&self) {
        self.prometheus.run_upkeep();
    }
}

fn describe() {
    describe_histogram!(
        "simple_analytics_http_request_seconds",
        Unit::Seconds,
        "Time from the request's head to the answer."
    );
    describe_counter!(
        "simple_analytics_http_requests_total",
        "Requests by endpoint and code (ok, or the code of the error body)."
    );
    describe_histogram!("simple_analytics_store_batch_events", "Events of each stored batch.");
    describe_histogram!(
        "simple_analytics_store_batch_seconds",
        Unit::Seconds,
        "From reading a batch off the queue to its acknowledgement."
    );
    describe_histogram!(
        "simple_analytics_event_lag_seconds",
        Unit::Seconds,
        "From receipt to stored, of the oldest event of each batch."
    );
    describe_counter!(
        "simple_analytics_store_retries_total",
        "Batches that the store could not take at once."
    );
    describe_gauge!(
        "simple_analytics_queue_oldest_waiting_seconds",
        Unit::Seconds,
        "Age of the oldest waiting event; 0 when none waits."
    );
    describe_gauge!(
        "simple_analytics_queue_waiting_events",
        "Accepted events that are not stored yet."
    );
    describe_gauge!("simple_analytics_queue_dead_letters", "Events set aside with a reason.");
    describe_gauge!(
        "simple_analytics_queue_damaged_records",
        "Queue records found damaged on disk."
    );
    describe_gauge!(
        "simple_analytics_queue_bytes",
        Unit::Bytes,
        "Bytes of the queue on disk."
    );
    describe_counter!(
        "simple_analytics_rate_limits_unanswered_total",
        "Questions about shared rate limits that were let pass because nobody answered in time."
    );
    describe_counter!(
        "simple_analytics_event_warnings_total",
        "Accepted events of which something was changed, by what."
    );
    describe_counter!(
        "simple_analytics_events_received_total",
        "Events read from requests, by project."
    );
    describe_counter!(
        "simple_analytics_events_outcome_total",
        "Events by project and where they ended."
    );
    describe_gauge!(
        "simple_analytics_events_waiting",
        "Events by project that are accepted and not stored yet."
    );
    describe_gauge!(
        "simple_analytics_ledger_discrepancy_events",
        "The ledger's waiting events less the queue's: 0 whenever nothing is in motion."
    );
    describe_replica();
    describe_gauge!("simple_analytics_build_info", "1, with the version as label.");
}

fn describe_scheduler() {
    describe_gauge!(
        "simple_analytics_scheduler_active",
        "1 while this process is the one scheduler, 0 while it stands by."
    );
    describe_counter!(
        "simple_analytics_retention_runs_total",
        "Runs of retention that this process began as the one scheduler."
    );
}

fn describe_replica() {
    describe_gauge!(
        "simple_analytics_replica_lag_seconds",
        Unit::Seconds,
        "How far the database's replica is behind; not a number while nobody knows."
    );
    describe_gauge!(
        "simple_analytics_replica_serves",
        "1 while reads go to the replica, 0 while the primary answers them."
    );
    describe_counter!(
        "simple_analytics_replica_reads_taken_over_total",
        "Reads that the replica could not answer, and the primary did."
    );
}
