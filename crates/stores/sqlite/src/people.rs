//! The table `people`.

use model::{Person, PersonId};
use sqlx::{Row, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use store::MetaError;

use crate::{
    error::{unavailable, write_error},
    row,
};

pub(crate) async fn list(pool: &SqlitePool) -> Result<Vec<Person>, MetaError> {
    let rows = sqlx::query("select * from people order by email_key")
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(unavailable)
}

pub(crate) async fn create(connection: &mut SqliteConnection, person: &Person) -> Result<(), MetaError> {
    sqlx::query(
        "insert into people (id, email, email_key, is_superuser, password_hash, created_at) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(person.id.to_string())
    .bind(&person.email)
    .bind(person.email.to_lowercase())
    .bind(person.is_superuser)
    .bind(&person.password_hash)
    .bind(person.created_at.to_string())
    .execute(connection)
    .await
    .map_err(|error| {
        write_error(error, || {
            format!("there is already a person with e-mail {}", person.email)
        })
    })?;
    Ok(())
}

pub(crate) async fn set_password_hash(pool: &SqlitePool, id: PersonId, password_hash: &str) -> Result<(), MetaError> {
    let done = sqlx::query("update people set password_hash = $2 where id = $1")
        .bind(id.to_string())
        .bind(password_hash)
        .execute(pool)
        .await
        .map_err(unavailable)?;
    found(done.rows_affected(), id)
}

pub(crate) async fn delete(pool: &SqlitePool, id: PersonId) -> Result<(), MetaError> {
    let done = sqlx::query("delete from people where id = $1")
        .bind(id.to_string())
        .execute(pool)
        .await
        .map_err(unavailable)?;
    found(done.rows_affected(), id)
}

fn found(rows_affected: u64, id: PersonId) -> Result<(), MetaError> {
    if rows_affected == 0 {
        return Err(MetaError::NotFound {
            what: "person",
            id: id.to_string(),
        });
    }
    Ok(())
}

fn read(row: &SqliteRow) -> sqlx::Result<Person> {
    Ok(Person {
        id: row::parsed(row, "id")?,
        email: row.try_get("email")?,
        is_superuser: row.try_get("is_superuser")?,
        password_hash: row.try_get("password_hash")?,
        created_at: row::parsed(row, "created_at")?,
    })
}
