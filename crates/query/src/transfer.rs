//! A project's events whole, for another store: every column that an event has, oldest first, each row once.

use std::sync::Arc;

use model::{
    Deduplication, DerivedKeys, EnrichedEvent, EventId, Timestamp,
    limits::{TRANSFER_PAGE_EVENTS, TRANSFER_WINDOW_MICROS_DEFAULT, TRANSFER_WINDOW_MICROS_MIN},
};
use store::{EventStore, ProjectScope, Rows, Statement, StoreError, Value};
use uuid::Uuid;

use crate::{QueryError, row::Row};

/// The columns, in the order in which [`read_event`] takes them.
const COLUMNS: &str = "id, timestamp, received_at, event_id, event_source, event_name, user_id, session_id, properties, ip_address, \
    user_agent, path, hostname, referrer_host, utm_source, utm_medium, utm_campaign, utm_term, utm_content, country, browser, \
    browser_version, os, device";

/// Reads all events of a project in pages. As long as nobody changes them, their order is the same each time.
///
/// A page is read within a window of time that grows and shrinks with what is there, so that the store sorts no more than a few pages at once,
/// however large it is.
pub struct StoredEvents {
    store: Arc<dyn EventStore>,
    scope: ProjectScope,
    /// First time of the window.
    from: Timestamp,
    /// First time after the window; `None`: it has no end.
    until: Option<Timestamp>,
    window_micros: i64,
    /// Rows that the window has had so far.
    window_rows: usize,
    /// The last row's place, and how many rows have been read there: an id may come twice at one time.
    last: Option<(Timestamp, Uuid, usize)>,
    /// Events that a page is allowed; after large ones fewer than at first.
    page_events_max: usize,
    is_at_end: bool,
}

impl StoredEvents {
    /// Reads nothing yet.
    pub fn new(store: Arc<dyn EventStore>, scope: ProjectScope) -> Self {
        Self {
            store,
            scope,
            from: Timestamp::MIN,
            // Nothing is in it: the first page looks for the first event.
            until: Some(Timestamp::MIN),
            window_micros: TRANSFER_WINDOW_MICROS_DEFAULT,
            window_rows: 0,
            last: None,
            page_events_max: TRANSFER_PAGE_EVENTS,
            is_at_end: false,
        }
    }

    /// The next events, as [`Deduplication::Moved`] without a claim; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<EnrichedEvent>>, QueryError> {
        while !self.is_at_end {
            let rows = self.read_page().await?;
            let is_full = rows.rows.len() >= self.page_events_max;
            let events = rows
                .rows
                .into_iter()
                .map(|values| read_event(&self.scope, Row::new(values)))
                .collect::<Result<Vec<_>, _>>()?;
            self.window_rows += events.len();
            if is_full {
                self.stay_behind(&events);
            } else {
                self.leave_window().await?;
            }
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
        Ok(None)
    }

    /// The rest of the window, as far as a page goes. A store refuses answers that take too much memory: then half as much is asked for, down
    /// to one event.
    async fn read_page(&mut self) -> Result<Rows, QueryError> {
        loop {
            match self.store.read(self.statement()).await {
                Err(StoreError::Refused(_)) if self.page_events_max > 1 => self.page_events_max /= 2,
                rows => return Ok(rows?),
            }
        }
    }

    fn statement(&self) -> Statement {
        Statement::over_events(&self.scope, |relation, parameters| {
            let from = parameters.bind(Value::Instant(self.from));
            let mut conditions = vec![format!("timestamp >= {from}")];
            if let Some(until) = self.until {
                conditions.push(format!("timestamp < {}", parameters.bind(Value::Instant(until))));
            }
            let mut offset = 0;
            if let Some((timestamp, id, rows)) = self.last {
                let (timestamp, id) = (
                    parameters.bind(Value::Instant(timestamp)),
                    parameters.bind(Value::Id(id)),
                );
                // The first condition alone lets the store skip what lies before.
                conditions.push(format!(
                    "timestamp >= {timestamp} and (timestamp > {timestamp} or id >= {id})"
                ));
                offset = rows;
            }
            format!(
                "select {COLUMNS} from {relation} as event where {} order by timestamp, id, received_at limit {} offset {offset}",
                conditions.join(" and "),
                self.page_events_max
            )
        })
    }

    /// The next page begins behind the last event.
    fn stay_behind(&mut self, events: &[EnrichedEvent]) {
        let Some(end) = events.last() else { return };
        let place = (end.timestamp, end.id.0);
        let here = events
            .iter()
            .rev()
            .take_while(|event| (event.timestamp, event.id.0) == place);
        let mut rows = here.count();
        if let Some((timestamp, id, before)) = self.last
            && (timestamp, id) == place
        {
            rows += before;
        }
        self.last = Some((place.0, place.1, rows));
    }

    /// The next page begins with the next window; behind an empty one with the next event.
    async fn leave_window(&mut self) -> Result<(), QueryError> {
        let Some(end) = self.until else {
            self.is_at_end = true;
            return Ok(());
        };
        if self.window_rows < self.page_events_max / 2 {
            self.window_micros = self.window_micros.saturating_mul(2);
        } else if self.window_rows > self.page_events_max * 2 {
            self.window_micros = (self.window_micros / 2).max(TRANSFER_WINDOW_MICROS_MIN);
        }
        self.from = end;
        if self.window_rows == 0 {
            match self.first_from(end).await? {
                Some(first) => self.from = first,
                None => self.is_at_end = true,
            }
        }
        let until = self.from.as_micros().saturating_add(self.window_micros);
        self.until = Timestamp::from_micros(until);
        self.window_rows = 0;
        self.last = None;
        Ok(())
    }

    /// The time of the first event at `from` or later.
    async fn first_from(&self, from: Timestamp) -> Result<Option<Timestamp>, QueryError> {
        let statement = Statement::over_events(&self.scope, |relation, parameters| {
            let from = parameters.bind(Value::Instant(from));
            format!("select min(timestamp) from {relation} as event where timestamp >= {from}")
        });
        let rows = self.store.read(statement).await?;
        let first = rows.rows.first().and_then(|row| row.first());
        Ok(first.and_then(Value::as_instant))
    }
}

fn read_event(scope: &ProjectScope, mut row: Row) -> Result<EnrichedEvent, QueryError> {
    Ok(EnrichedEvent {
        id: EventId(row.id()?),
        project_id: scope.project_id(),
        timestamp: row.instant()?,
        received_at: row.instant()?,
        client_event_id: row.optional_text()?,
        event_source: row.optional_text()?,
        event_name: row.text()?,
        user_id: row.text()?,
        session_id: row.text()?,
        properties: row.text()?,
        ip_address: row.optional_text()?,
        user_agent: row.optional_text()?,
        derived: DerivedKeys {
            path: row.optional_text()?,
            hostname: row.optional_text()?,
            referrer_host: row.optional_text()?,
            utm_source: row.optional_text()?,
            utm_medium: row.optional_text()?,
            utm_campaign: row.optional_text()?,
            utm_term: row.optional_text()?,
            utm_content: row.optional_text()?,
            country: row.optional_text()?,
            browser: row.optional_text()?,
            browser_version: row.optional_text()?,
            os: row.optional_text()?,
            device: row.optional_text()?,
        },
        deduplication: Deduplication::Moved { claimed_at: None },
    })
}
