//! Opening: database, what memory knows of it, and the index that belongs to it.

use std::{collections::HashMap, sync::Arc};

use duckdb::{Connection, params};
use model::{EventId, ProjectId, Timestamp};
use uuid::Uuid;

use crate::{
    append::{self, Ahead},
    engine::Engine,
    failure::Failure,
    index::{Identity, Index, REMEMBERED_DAYS},
    options::DuckdbOptions,
    rows,
    shared::Shared,
};

/// What the writer works with while the database is open.
pub(crate) struct Open {
    pub(crate) engine: Arc<Engine>,
    pub(crate) connection: Connection,
    pub(crate) index: Index,
    pub(crate) ahead: Ahead,
}

/// What is known of the index that lies there.
#[derive(Clone, Copy)]
pub(crate) enum FoundIndex {
    /// Nothing: it is opened, and made anew if that fails.
    Tried,
    /// It opens, but cannot be read: it is made anew.
    Damaged,
}

impl Open {
    /// Opens the database of a generation and its index, and shows them to the readers.
    pub(crate) fn new(
        shared: &Shared,
        generation: u64,
        options: &DuckdbOptions,
        now: Timestamp,
        found: FoundIndex,
    ) -> Result<Self, Failure> {
        let engine = Arc::new(Engine::open(&shared.files, generation, options)?);
        let connection = engine.connect()?;
        append::fold_progress(&connection)?;
        let mut positions = positions(&connection)?;
        let mark = positions.remove(&append::INDEX).unwrap_or(0);
        let index = open_index(shared, &connection, mark, now, found)?;
        shared.replace_positions(positions);
        shared.replace_projects(
            projects(&connection)?
                .into_iter()
                .map(|(id, number, _)| (id, number))
                .collect(),
        );
        shared.replace_engine(Some(Arc::clone(&engine)));
        Ok(Self {
            engine,
            connection,
            index,
            ahead: Ahead::Nothing,
        })
    }
}

/// Opens the index once more, beside a database that stayed open.
pub(crate) fn reopen_index(
    shared: &Shared,
    connection: &Connection,
    now: Timestamp,
    found: FoundIndex,
) -> Result<Index, Failure> {
    append::fold_progress(connection)?;
    let mark = positions(connection)?.remove(&append::INDEX).unwrap_or(0);
    open_index(shared, connection, mark, now, found)
}

fn open_index(
    shared: &Shared,
    connection: &Connection,
    mark: u64,
    now: Timestamp,
    found: FoundIndex,
) -> Result<Index, Failure> {
    let before = identity(connection)?;
    let next_numbers = projects(connection)?
        .into_iter()
        .map(|(_, number, next)| (number, next))
        .collect();
    let path = shared.files.index();
    let whole = match found {
        FoundIndex::Tried => Index::open(&path, before, &next_numbers, mark)?,
        FoundIndex::Damaged => None,
    };
    let mut index = match whole {
        Some(index) => index,
        None => {
            let mut index = Index::create(&path)?;
            index.restore_mark(mark)?;
            rebuild(index, connection, &next_numbers, now)?
        }
    };
    let identity = Identity {
        session: Uuid::new_v4(),
        ..before
    };
    index.adopt(identity, before.session)?;
    connection.execute("UPDATE identity SET session = ?", params![identity.session.to_string()])?;
    Ok(index)
}

fn rebuild(
    mut index: Index,
    connection: &Connection,
    next_numbers: &HashMap<u32, u32>,
    now: Timestamp,
) -> Result<Index, Failure> {
    // Should a user have two numbers after all, the first one stays.
    let mut statement = connection.prepare("SELECT project_id, user_id, min(uid) FROM events GROUP BY ALL")?;
    let users = statement.query_and_then([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    index.restore_users(&mut users.into_iter(), next_numbers)?;

    let remembered = now.saturating_add_seconds(-REMEMBERED_DAYS * 86_400);
    // With a clock that was wrong, whichever is later.
    let mut statement = connection.prepare(
        "SELECT id::VARCHAR, greatest(received_at, imported_at) FROM events
         WHERE event_id IS NOT NULL AND (received_at >= $1 OR imported_at >= $1)",
    )?;
    let ids = statement.query_and_then(params![rows::instant(remembered)], |row| {
        let id: String = row.get(0)?;
        let claimed_at: i64 = row.get(1)?;
        Ok((EventId(uuid(&id)?), Timestamp::from_micros(claimed_at).unwrap_or(now)))
    })?;
    index.restore_claims(&mut ids.into_iter())?;
    Ok(index)
}

fn identity(connection: &Connection) -> Result<Identity, Failure> {
    let (store, session) =
        connection.query_row("SELECT store::VARCHAR, session::VARCHAR FROM identity", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
    Ok(Identity {
        store: uuid(&store)?,
        session: uuid(&session)?,
    })
}

/// Every project with its number and the next number of its users.
fn projects(connection: &Connection) -> Result<Vec<(ProjectId, u32, u32)>, Failure> {
    let mut statement = connection.prepare("SELECT id::VARCHAR, number, users_next FROM projects")?;
    let found = statement.query_and_then([], |row| {
        let id: String = row.get(0)?;
        Ok((ProjectId(uuid(&id)?), row.get(1)?, row.get(2)?))
    })?;
    found.collect()
}

fn positions(connection: &Connection) -> Result<HashMap<Uuid, u64>, Failure> {
    let mut statement = connection.prepare("SELECT queue::VARCHAR, position FROM checkpoints")?;
    let found = statement.query_and_then([], |row| {
        let queue: String = row.get(0)?;
        Ok((uuid(&queue)?, row.get(1)?))
    })?;
    found.collect()
}

pub(crate) fn uuid(text: &str) -> Result<Uuid, Failure> {
    Uuid::parse_str(text)
        .map_err(|error| Failure::Unavailable(format!("the database holds {text:?} as an id: {error}")))
}
