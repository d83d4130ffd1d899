//! Reads: each on a connection of its own whose transactions are read-only, bounded in number, time and memory.

use futures::StreamExt;
use model::limits;
use sqlx::{Column, Executor, PgConnection, PgPool, SqlSafeStr, Statement as _, postgres::PgArguments};
use store::{Rows, Statement, StoreError, Value, statement::RELATION};

use super::{Shared, numbers, value};
use crate::{
    connect::Lease,
    failure::{read_failed, sentence},
};

/// Answers a statement: the replica does while it serves, else the primary.
pub(super) async fn read(store: &Shared, statement: &Statement) -> Result<Rows, StoreError> {
    if let Some(replica) = &store.replica
        && let Some(pool) = replica.serving()
    {
        let answer = tokio::select! {
            answer = read_from(store, pool, statement) => answer,
            // One that stands still would be waited for until the statement's time limit.
            gone = replica.gone() => Err(gone),
        };
        match answer {
            Err(error) if is_to_be_taken_over(&error) => replica.taken_over(&error),
            answer => return answer,
        }
    }
    read_from(store, &store.readers, statement).await
}

/// Whether the primary may know better. A standby ends statements that stand in the way of what it replays, and may lack what a start has
/// just added to the schema; an answer that took too long or is too large is so everywhere.
fn is_to_be_taken_over(error: &StoreError) -> bool {
    match error {
        StoreError::Timeout(_) | StoreError::Overloaded(_) => false,
        StoreError::Refused(message) => !message.starts_with(TOO_MUCH),
        StoreError::Unavailable(_) => true,
    }
}

async fn read_from(store: &Shared, pool: &PgPool, statement: &Statement) -> Result<Rows, StoreError> {
    let unavailable = |error: sqlx::Error| StoreError::Unavailable(sentence(&error));
    let project = numbers::project(store, pool, statement.project_id())
        .await
        .map_err(unavailable)?;
    let mut values = statement.parameters().to_vec();
    if let Some(first) = values.first_mut() {
        *first = Value::Integer(project.unwrap_or(numbers::NO_PROJECT).into());
    }
    // Before version 16 PostgreSQL takes no subquery without an alias.
    let sql = statement.sql().replace(RELATION, "project_events(cast($1 as integer))");
    let mut lease = Lease::take(pool).await.map_err(unavailable)?;
    // The server ends statements itself; this is for one that does not answer at all.
    let patience = limits::QUERY_TIMEOUT + limits::POSTGRES_CONNECT_TIMEOUT;
    let answered = tokio::time::timeout(patience, query(&mut lease, sql, &values)).await;
    let answer = answered.unwrap_or(Err(StoreError::Timeout(limits::QUERY_TIMEOUT)));
    // After a refusal by the server, too, the connection is as good as before; an answer that was not taken whole would still come.
    if !matches!(answer, Err(StoreError::Timeout(_) | StoreError::Unavailable(_))) && !is_unfinished(&answer) {
        lease.give_back();
    }
    answer
}

const TOO_MUCH: &str = "the answer takes more than";

fn is_unfinished(answer: &Result<Rows, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Refused(message)) if message.starts_with(TOO_MUCH) || message.starts_with("column"))
}

async fn query(connection: &mut PgConnection, sql: String, values: &[Value]) -> Result<Rows, StoreError> {
    let types: Vec<_> = values.iter().map(value::type_of).collect();
    let mut arguments = PgArguments::default();
    for value in values {
        value::bind(&mut arguments, value).map_err(|error| StoreError::Refused(error.to_string()))?;
    }
    // Prepared first, so that an answer of no rows has its columns.
    let prepared = connection
        .prepare_with(sqlx::AssertSqlSafe(sql).into_sql_str(), &types)
        .await
        .map_err(read_failed)?;
    let columns = prepared
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect();
    let mut stream = prepared.query_with(arguments).fetch(connection);
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(row) = stream.next().await {
        let (row, row_bytes) = value::row(&row.map_err(read_failed)?)?;
        rows.push(row);
        bytes += row_bytes;
        if bytes > limits::QUERY_ANSWER_BYTES_MAX {
            return Err(StoreError::Refused(format!(
                "{TOO_MUCH} {} MiB; ask for a shorter range or fewer rows",
                limits::QUERY_ANSWER_BYTES_MAX >> 20
            )));
        }
    }
    Ok(Rows { columns, rows })
}
