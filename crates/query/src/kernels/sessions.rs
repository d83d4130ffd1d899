//! Sessions: how many, who, how long, and what was viewed in them.
//!
//! What `docs/semantics` leaves open is decided so:
//! - A session counts where it has an event in the range. Then it counts as a whole: whether it bounced, its duration, its views and its
//!   attributes are of all its events, those outside the range too, which must therefore be delivered. Page views and events are those
//!   of the range (of the bucket).
//! - The rates of a bucket are those of the sessions with an event in it, the rates of a value those of the sessions that have it. By the
//!   value of each event, a session belongs with its rates to the value of its first page view: where it entered.

mod visitors;

use model::limits::{SEQUENCE_ACTOR_EVENTS_MAX, SESSION_VALUES_MAX};

use super::{Buckets, Group, KernelError, NO_VALUE, groups::Groups, order::Order, rate};
use visitors::{Visitors, VisitorsLeft};

/// A session with one page view and nothing else is no bounce when it lasts so long: `docs/semantics`, "Who is counted".
const BOUNCE_MICROS: i64 = 10_000_000;

/// An event of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The session's number; the actor of the order.
    pub session: u32,
    /// The user's number; dense from 0 on, or visitors take more memory.
    pub user: u32,
    /// Microseconds since the epoch.
    pub time_micros: i64,
    /// The event's value of the key that is counted by; [`NO_VALUE`] where there is none.
    pub value: u32,
    /// Whether the event is a page view.
    pub is_page_view: bool,
}

/// Which value a session is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionsBy {
    /// That of its first event: source, referrer, country, device.
    FirstEvent,
    /// That of its first page view: the entry page. Sessions without a page view are under "(none)".
    EntryPage,
    /// That of its last page view: the exit page.
    ExitPage,
    /// Those of all its events (of the range), each counted under its own; the rates under that of the first page view.
    EachEvent,
}

/// Figures of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SessionFigures {
    /// Distinct users.
    pub visitors: u64,
    /// Distinct sessions.
    pub sessions: u64,
    /// Page views.
    pub page_views: u64,
    /// Events, page views among them.
    pub events: u64,
    /// Page views of a session with a page view; 0 without any.
    pub views_per_session: f64,
    /// The part of the sessions with a page view that bounced; 0 without any.
    pub bounce_rate: f64,
    /// Their mean duration, seconds; 0 without any.
    pub average_duration_seconds: f64,
}

/// The answer about sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionsAnswer {
    /// Of the whole range.
    pub total: SessionFigures,
    /// Of each bucket.
    pub series: Vec<SessionFigures>,
    /// Of each value that occurs, "(none)" first, then by index; nothing when nothing is counted by.
    pub by: Vec<(Group, SessionFigures)>,
}

/// Sums over sessions.
#[derive(Debug, Default)]
struct Counts {
    visitors: Visitors,
    /// The session that was counted last, if any.
    last_session: Option<u32>,
    sessions: u64,
    page_views: u64,
    events: u64,
    /// Of sessions with a page view, as wholes.
    viewed: u64,
    bounces: u64,
    views: u64,
    duration_micros: i64,
}

impl Counts {
    #[inline]
    fn add_rates(&mut self, session: &Session) {
        if session.views > 0 {
            self.viewed += 1;
            self.bounces += u64::from(session.is_bounce());
            self.views += session.views;
            self.duration_micros += session.duration_micros();
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum of durations is far below 2^53 microseconds for all but absurd inputs, and rounds once then"
    )]
    fn figures(self) -> SessionFigures {
        let average_micros = if self.viewed == 0 {
            0.0
        } else {
            self.duration_micros as f64 / self.viewed as f64
        };
        SessionFigures {
            visitors: self.visitors.count(),
            sessions: self.sessions,
            page_views: self.page_views,
            events: self.events,
            views_per_session: rate(self.views, self.viewed),
            bounce_rate: rate(self.bounces, self.viewed),
            average_duration_seconds: average_micros / 1e6,
        }
    }
}

/// The session at hand.
#[derive(Debug, Default)]
struct Session {
    first_micros: i64,
    last_micros: i64,
    /// All its events.
    events: u64,
    views: u64,
    /// Those of the range.
    events_in_range: u64,
    views_in_range: u64,
    first_value: Option<u32>,
    entry_value: Option<u32>,
    exit_value: Option<u32>,
    /// Where its last event of the range was.
    bucket: usize,
    /// Buckets with an event.
    buckets: Vec<usize>,
    /// Users of the range; repeats only where others lie between.
    users: Vec<u32>,
}

impl Session {
    fn duration_micros(&self) -> i64 {
        self.last_micros.saturating_sub(self.first_micros)
    }

    fn is_bounce(&self) -> bool {
        self.views == 1 && self.events == 1 && self.duration_micros() < BOUNCE_MICROS
    }

    fn clear(&mut self) {
        let (mut buckets, mut users) = (std::mem::take(&mut self.buckets), std::mem::take(&mut self.users));
        buckets.clear();
        users.clear();
        *self = Self {
            buckets,
            users,
            ..Self::default()
        };
    }
}

/// Counts sessions.
#[derive(Debug)]
pub struct SessionsKernel {
    buckets: Buckets,
    by: Option<SessionsBy>,
    order: Order,
    session: Session,
    total: Counts,
    series: Vec<Counts>,
    values: Groups<Counts>,
    visitors_left: VisitorsLeft,
}

impl SessionsKernel {
    /// A kernel that has seen no row. The buckets are those of the range; a single one for totals alone.
    pub fn new(buckets: Buckets, by: Option<SessionsBy>) -> Self {
        Self {
            series: std::iter::repeat_with(Counts::default).take(buckets.count()).collect(),
            buckets,
            by,
            order: Order::default(),
            session: Session::default(),
            total: Counts::default(),
            values: Groups::new(SESSION_VALUES_MAX, "values of the key"),
            visitors_left: VisitorsLeft::default(),
        }
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// [`KernelError::OutOfOrder`], [`KernelError::ActorTooLong`] or [`KernelError::TooManyGroups`]; the kernel is of no use then.
    #[inline]
    pub fn push(&mut self, row: SessionRow) -> Result<(), KernelError> {
        if self.order.admit(row.session, row.time_micros)? {
            self.close_session()?;
        }
        let session = &mut self.session;
        let views = u64::from(row.is_page_view);
        if session.first_value.is_none() {
            session.first_value = Some(row.value);
            session.first_micros = row.time_micros;
        }
        session.last_micros = row.time_micros;
        session.events += 1;
        session.views += views;
        if row.is_page_view {
            session.entry_value = session.entry_value.or(Some(row.value));
            session.exit_value = Some(row.value);
        }
        let Some(bucket) = self.buckets.find(row.time_micros, session.bucket) else {
            return Ok(());
        };
        let is_new_bucket = session.events_in_range == 0 || bucket != session.bucket;
        session.events_in_range += 1;
        session.views_in_range += views;
        session.bucket = bucket;
        let in_bucket = &mut self.series[bucket];
        in_bucket.events += 1;
        in_bucket.page_views += views;
        let is_new_user = session.users.last() != Some(&row.user);
        if is_new_user {
            if session.users.len() == SEQUENCE_ACTOR_EVENTS_MAX {
                return Err(KernelError::ActorTooLong {
                    limit: SEQUENCE_ACTOR_EVENTS_MAX,
                });
            }
            session.users.push(row.user);
            self.total.visitors.add(row.user, &mut self.visitors_left)?;
        }
        if is_new_bucket {
            session.buckets.push(bucket);
        }
        if is_new_bucket || is_new_user {
            in_bucket.visitors.add(row.user, &mut self.visitors_left)?;
        }
        if self.by == Some(SessionsBy::EachEvent) {
            let counts = self.values.of(row.value, Counts::default)?;
            counts.events += 1;
            counts.page_views += views;
            counts.sessions += u64::from(counts.last_session.replace(row.session) != Some(row.session));
            counts.visitors.add(row.user, &mut self.visitors_left)?;
        }
        Ok(())
    }

    fn close_session(&mut self) -> Result<(), KernelError> {
        let session = &self.session;
        if session.events_in_range > 0 {
            self.total.sessions += 1;
            self.total.events += session.events_in_range;
            self.total.page_views += session.views_in_range;
            self.total.add_rates(session);
            for bucket in &session.buckets {
                self.series[*bucket].sessions += 1;
                self.series[*bucket].add_rates(session);
            }
            if let Some(by) = self.by {
                self.add_to_values(by)?;
            }
        }
        self.session.clear();
        Ok(())
    }

    fn add_to_values(&mut self, by: SessionsBy) -> Result<(), KernelError> {
        let session = &self.session;
        let own_value = match by {
            SessionsBy::FirstEvent => session.first_value,
            SessionsBy::EntryPage | SessionsBy::EachEvent => session.entry_value,
            SessionsBy::ExitPage => session.exit_value,
        };
        let own_value = own_value.unwrap_or(NO_VALUE);
        let own = self.values.of(own_value, Counts::default)?;
        own.add_rates(session);
        if by != SessionsBy::EachEvent {
            own.sessions += 1;
            own.events += session.events_in_range;
            own.page_views += session.views_in_range;
            for user in &session.users {
                own.visitors.add(*user, &mut self.visitors_left)?;
            }
        }
        Ok(())
    }

    /// The answer.
    ///
    /// # Errors
    /// As [`Self::push`], for the last session.
    pub fn finish(mut self) -> Result<SessionsAnswer, KernelError> {
        self.close_session()?;
        let values = self.values.into_values();
        let by = values
            .filter(|(_, counts)| counts.events > 0 || counts.viewed > 0)
            .map(|(value, counts)| {
                let group = match value {
                    NO_VALUE => Group::NoValue,
                    value => Group::Value(value),
                };
                (group, counts.figures())
            });
        Ok(SessionsAnswer {
            total: self.total.figures(),
            by: by.collect(),
            series: self.series.into_iter().map(Counts::figures).collect(),
        })
    }
}
