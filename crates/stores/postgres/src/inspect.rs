//! What an operator should know about the database. Changes nothing.

use model::{Clock, inspection::Inspection, limits};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::{
    connect::{Database, SERVER_VERSION_MIN},
    failure::sentence,
};

/// Seconds that two clocks may be apart.
const CLOCK_DIFFERENCE_SECONDS_MAX: u64 = 5;
/// Connections that one process of ours may have.
const CONNECTIONS_OF_ONE: i64 = (limits::POSTGRES_META_CONNECTIONS_MAX
    + limits::POSTGRES_WRITE_CONNECTIONS_MAX
    + limits::POSTGRES_READ_CONNECTIONS_MAX) as i64;

/// Looks at the database of a URL, with its own connection.
pub async fn inspect(url: &str, clock: &dyn Clock) -> Inspection {
    let mut found = Inspection::new("postgres");
    let remedy = "start PostgreSQL, or correct DATABASE_URL; meanwhile accepted events wait in the queue";
    let database = match Database::parse(url) {
        Ok(database) => database,
        Err(why) => {
            found.problem(why, "correct DATABASE_URL");
            return found;
        }
    };
    let looking = async {
        let mut connection = database.options().connect().await?;
        look(&mut connection, &mut found, clock).await?;
        connection.close().await
    };
    let looked = tokio::time::timeout(limits::POSTGRES_CONNECT_TIMEOUT, looking).await;
    match looked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => found.problem(format!("{database}: {}", sentence(&error)), remedy),
        Err(_) => found.problem(
            format!(
                "{database} did not answer within {:?}",
                limits::POSTGRES_CONNECT_TIMEOUT
            ),
            remedy,
        ),
    }
    found
}

async fn look(connection: &mut PgConnection, found: &mut Inspection, clock: &dyn Clock) -> Result<(), sqlx::Error> {
    server(connection, found, clock).await?;
    durability(connection, found).await?;
    connections(connection, found).await?;
    size(connection, found).await
}

async fn server(connection: &mut PgConnection, found: &mut Inspection, clock: &dyn Clock) -> Result<(), sqlx::Error> {
    let (version, number, encoding, standby, micros): (String, i32, String, bool, i64) = sqlx::query_as(
        "select current_setting('server_version'), current_setting('server_version_num')::int, \
         pg_encoding_to_char(encoding)::text, pg_is_in_recovery(), \
         (extract(epoch from clock_timestamp()) * 1000000)::bigint \
         from pg_database where datname = current_database()",
    )
    .fetch_one(connection)
    .await?;
    let apart_seconds = clock.now().as_micros().abs_diff(micros) / 1_000_000;
    found.fact("version", version.as_str());
    found.fact("encoding", encoding.as_str());
    found.fact("standby", standby);
    match number < SERVER_VERSION_MIN {
        true => found.problem(
            format!("PostgreSQL {version} is too old"),
            format!("use version {} or newer", SERVER_VERSION_MIN / 10_000),
        ),
        false => found.ok(format!("PostgreSQL {version} answers")),
    }
    if standby {
        found.problem(
            "it is a standby and takes no writes",
            "name the primary in DATABASE_URL, or promote it",
        );
    }
    if encoding != "UTF8" {
        found.problem(
            format!("the database is in {encoding}: names in other scripts cannot be stored"),
            "make a database with `create database … encoding 'UTF8' template template0` and use that",
        );
    }
    if apart_seconds > CLOCK_DIFFERENCE_SECONDS_MAX {
        found.warn(
            format!("its clock is {apart_seconds} s apart from ours"),
            "let both machines synchronise their clocks (NTP)",
        );
    }
    Ok(())
}

async fn durability(connection: &mut PgConnection, found: &mut Inspection) -> Result<(), sqlx::Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select name, setting from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit') order by name",
    )
    .fetch_all(connection)
    .await?;
    for (name, setting) in rows {
        found.fact(&name, setting.as_str());
        match (name.as_str(), setting.as_str()) {
            ("synchronous_commit", "off") => found.warn(
                "synchronous_commit is off; our own connections turn it on",
                "set synchronous_commit = on, so that nobody else's are at risk",
            ),
            ("fsync" | "full_page_writes", "off") => found.risk(
                format!("{name} is off: a power cut may destroy the database"),
                format!("set {name} = on"),
            ),
            _ => {}
        }
    }
    Ok(())
}

async fn connections(connection: &mut PgConnection, found: &mut Inspection) -> Result<(), sqlx::Error> {
    let (most, used, ours): (i64, i64, i64) = sqlx::query_as(
        "select current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint, \
         count(*) filter (where backend_type = 'client backend'), \
         count(*) filter (where application_name = 'simple-analytics') from pg_stat_activity",
    )
    .fetch_one(connection)
    .await?;
    found.fact("connections_max", most);
    found.fact("connections", used);
    found.fact("connections_ours", ours);
    let left = most - used;
    if most < CONNECTIONS_OF_ONE {
        found.problem(
            format!("it allows {most} connections, and one server of ours may need {CONNECTIONS_OF_ONE}"),
            "raise max_connections",
        );
    } else if left < CONNECTIONS_OF_ONE - ours.min(CONNECTIONS_OF_ONE) {
        found.warn(
            format!("{used} of {most} connections are in use: too few are left for one more server"),
            "raise max_connections, or end what holds them (see pg_stat_activity)",
        );
    }
    Ok(())
}

async fn size(connection: &mut PgConnection, found: &mut Inspection) -> Result<(), sqlx::Error> {
    let (bytes, partitions, oldest_seconds): (i64, i64, Option<i64>) = sqlx::query_as(
        "select pg_database_size(current_database()), \
         (select count(*) from pg_inherits where inhparent = to_regclass('events')), \
         (select max(extract(epoch from now() - xact_start))::bigint from pg_stat_activity \
         where datname = current_database() and state <> 'idle')",
    )
    .fetch_one(connection)
    .await?;
    found.fact("database_bytes", bytes);
    found.fact("partitions", partitions);
    if let Some(seconds) = oldest_seconds.filter(|seconds| *seconds > 3_600) {
        found.warn(
            format!("a transaction is open for {seconds} s: what is deleted is not given back meanwhile"),
            "see pg_stat_activity, and end it",
        );
    }
    Ok(())
}
