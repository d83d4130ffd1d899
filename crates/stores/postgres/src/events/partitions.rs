//! Partitions of events by month of event time, made before their first event.

use model::{Timestamp, limits};
use sqlx::PgConnection;

use super::Shared;
use crate::connect::{Lease, SCHEMA_LOCK};

/// Months before this year share a partition, and those from the other on: whoever sends times at random makes 1,200 partitions at most.
const YEAR_MIN: i32 = 2000;
const YEAR_END: i32 = 2100;

/// A partition: months since year 0, or one of the two for everything before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Month(pub(super) i32);

impl Month {
    const PAST: Self = Self(0);
    const FUTURE: Self = Self(i32::MAX);

    /// The partition of an instant.
    pub(super) fn of(instant: Timestamp) -> Self {
        let date = instant.date_in(&jiff::tz::TimeZone::UTC);
        match i32::from(date.year()) {
            year if year < YEAR_MIN => Self::PAST,
            year if year >= YEAR_END => Self::FUTURE,
            year => Self(year * 12 + i32::from(date.month()) - 1),
        }
    }

    /// The month so many months later; those at the edges stay.
    fn later(self, months: i32) -> Self {
        match self {
            Self::PAST | Self::FUTURE => self,
            Self(month) if month + months >= YEAR_END * 12 => Self::FUTURE,
            Self(month) => Self(month + months),
        }
    }

    /// The name of its table.
    pub(super) fn name(self) -> String {
        match self {
            Self::PAST => "events_past".to_owned(),
            Self::FUTURE => "events_future".to_owned(),
            Self(month) => format!("events_{:04}_{:02}", month / 12, month % 12 + 1),
        }
    }

    /// Its first instant, and the first after it, as SQL; `None`: without end.
    pub(super) fn edges(self) -> (Option<String>, Option<String>) {
        let first = |month: i32| format!("'{:04}-{:02}-01'", month / 12, month % 12 + 1);
        match self {
            Self::PAST => (None, Some(first(YEAR_MIN * 12))),
            Self::FUTURE => (Some(first(YEAR_END * 12)), None),
            Self(month) => (Some(first(month)), Some(first(month + 1))),
        }
    }

    /// What every one of its events meets, as SQL.
    pub(super) fn condition(self) -> String {
        let (from, to) = self.edges();
        let from = from.map(|from| format!("timestamp >= {from}::timestamp"));
        let to = to.map(|to| format!("timestamp < {to}::timestamp"));
        from.into_iter().chain(to).collect::<Vec<_>>().join(" and ")
    }

    /// `attach partition … for values …`, for its table.
    pub(super) fn attach_sql(self) -> String {
        let (from, to) = self.edges();
        format!(
            "alter table events attach partition {} for values from ({}) to ({})",
            self.name(),
            from.as_deref().unwrap_or("minvalue"),
            to.as_deref().unwrap_or("maxvalue")
        )
    }

    /// Whether all of its events are before `instant`.
    pub(super) fn is_before(self, instant: Timestamp) -> bool {
        // Its last instant is in it, so the month of `instant` begins at or after its end.
        self < Self::of(instant)
    }

    /// The months that are wanted at any time, seen from `now`.
    pub(super) fn wanted(now: Timestamp) -> impl Iterator<Item = Self> {
        (0..=limits::POSTGRES_MONTHS_AHEAD).map(move |months| Self::of(now).later(months))
    }
}

/// Makes the partitions of months that have none.
pub(super) async fn ensure(store: &Shared, months: impl Iterator<Item = Month>) -> sqlx::Result<()> {
    let mut missing: Vec<Month> = {
        let known = store
            .known
            .months
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        months.filter(|month| !known.contains(month)).collect()
    };
    missing.sort_unstable();
    missing.dedup();
    for month in missing {
        let mut lease = Lease::take(&store.writers).await?;
        make(&mut lease, month).await?;
        lease.give_back();
        let mut known = store
            .known
            .months
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known.insert(month);
    }
    Ok(())
}

async fn make(lease: &mut Lease, month: Month) -> sqlx::Result<()> {
    lease
        .run(format!("begin; select pg_advisory_xact_lock({SCHEMA_LOCK})"))
        .await?;
    let is_there: bool = sqlx::query_scalar("select exists (select from event_partitions where month = $1)")
        .bind(month.0)
        .fetch_one(&mut **lease)
        .await?;
    if !is_there {
        let name = month.name();
        // Attaching lets readers and writers of the others go on; making it as a partition would lock them all out.
        lease
            .run(format!(
                "create table {name} (like events including all); {}; insert into event_partitions (month, name) values ({}, '{name}')",
                month.attach_sql(),
                month.0
            ))
            .await?;
    }
    lease.run("commit").await
}

/// Every partition, oldest first.
pub(super) async fn list(connection: &mut PgConnection) -> sqlx::Result<Vec<Month>> {
    let months: Vec<i32> = sqlx::query_scalar("select month from event_partitions order by month")
        .fetch_all(connection)
        .await?;
    Ok(months.into_iter().map(Month).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_has_a_partition_and_their_number_is_bounded() {
        let name = |text: &str| Month::of(text.parse().unwrap()).name();
        assert_eq!(name("0001-01-01T00:00:00Z"), "events_past");
        assert_eq!(name("1999-12-31T23:59:59.999999Z"), "events_past");
        assert_eq!(name("2000-01-01T00:00:00Z"), "events_2000_01");
        assert_eq!(name("2026-12-31T23:59:59.999999Z"), "events_2026_12");
        assert_eq!(name("2100-01-01T00:00:00Z"), "events_future");
        assert_eq!(Month::of(Timestamp::MAX).name(), "events_future");
        let edge: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let january = Month::of(edge.saturating_add_micros(-1));
        assert!(january.is_before(edge) && !january.is_before(edge.saturating_add_micros(-1)));
        assert_eq!(
            january.condition(),
            "timestamp >= '2026-01-01'::timestamp and timestamp < '2026-02-01'::timestamp"
        );
        assert_eq!(january.later(12).name(), "events_2027_01");
        assert_eq!(
            Month::of("2099-12-01T00:00:00Z".parse().unwrap()).later(1),
            Month::FUTURE
        );
    }
}
