//! Reaching the database: settings of every connection, migrations.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

use model::limits;
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres, SqlSafeStr,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{failure::sentence, tls};

/// Every migration, oldest first. Never change one that has been released: add the next, and let it only add.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "metadata", include_str!("../migrations/0001_metadata.sql")),
    (2, "events", include_str!("../migrations/0002_events.sql")),
    (3, "leases", include_str!("../migrations/0003_leases.sql")),
];
/// The oldest PostgreSQL that has all that is used, as `server_version_num` tells it.
pub(crate) const SERVER_VERSION_MIN: i32 = 140_000;
/// Advisory locks of this database, by what they protect.
const MIGRATION_LOCK: i64 = 0x5a_0001;
/// Held while partitions and tables of ids are made or dropped.
pub(crate) const SCHEMA_LOCK: i64 = 0x5a_0002;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    Meta,
    Write,
    Read,
}

impl Session {
    /// What every connection of the kind is told first.
    fn settings(self) -> String {
        let millis = |time: Duration| time.as_millis();
        let common = "set time zone 'UTC'";
        // A batch that was answered is on disk, whatever the database's own default is.
        let durable =
            "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'";
        let (lock, write) = (
            millis(limits::POSTGRES_LOCK_TIMEOUT),
            millis(limits::POSTGRES_WRITE_TIMEOUT),
        );
        match self {
            Self::Meta | Self::Write => format!(
                "{common}; {durable}; set lock_timeout = {lock}; set statement_timeout = {write}; \
                 set idle_in_transaction_session_timeout = {write}"
            ),
            // Compiling a plan over partitions takes longer than most answers; a plan made for other values misses the partitions.
            Self::Read => format!(
                "{common}; set default_transaction_read_only = on; set statement_timeout = {}; set jit = off; \
                 set plan_cache_mode = force_custom_plan",
                millis(limits::QUERY_TIMEOUT)
            ),
        }
    }
}

/// A database that was named by URL. Shows no secret.
#[derive(Clone)]
pub(crate) struct Database {
    options: PgConnectOptions,
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.options.get_database().unwrap_or("postgres");
        match self.options.get_socket() {
            Some(socket) => write!(formatter, "the database {name} at {}", socket.display()),
            None => write!(
                formatter,
                "the database {name} at {}:{}",
                self.options.get_host(),
                self.options.get_port()
            ),
        }
    }
}

impl Database {
    /// Reads a URL. The error does not repeat it: it holds a password.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let is_ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let options: Option<PgConnectOptions> = is_ours.then(|| url.parse().ok()).flatten();
        let options = options.ok_or("the URL must look like postgres://user:password@host:5432/database")?;
        let options = tls::checked(options, url)?;
        Ok(Self {
            options: options.application_name("simple-analytics").disable_statement_logging(),
        })
    }

    /// How one connection is made.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Connections that are opened when they are needed.
    pub(crate) fn pool(&self, session: Session, connections_max: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(limits::POSTGRES_CONNECT_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(prepare(connection, session)))
            .connect_lazy_with(self.options.clone())
    }

    /// A connection outside of every pool.
    pub(crate) async fn connect(&self, session: Session) -> sqlx::Result<PgConnection> {
        let mut connection = self.options.connect().await?;
        prepare(&mut connection, session).await?;
        Ok(connection)
    }

    /// Applies the migrations that are missing, each in a transaction of its own, while no other process does. What was interrupted goes on
    /// with the next start.
    pub(crate) async fn migrate(&self) -> Result<(), String> {
        let connecting = tokio::time::timeout(limits::POSTGRES_CONNECT_TIMEOUT, self.options.connect());
        let mut connection = match connecting.await {
            Ok(connected) => connected.map_err(|error| format!("cannot reach {self}: {}", sentence(&error)))?,
            Err(_) => {
                return Err(format!(
                    "cannot reach {self}: no answer within {:?}",
                    limits::POSTGRES_CONNECT_TIMEOUT
                ));
            }
        };
        let migrated = self.migrate_on(&mut connection).await;
        // Gives the lock back, too.
        let _ = connection.close().await;
        migrated
    }

    async fn migrate_on(&self, connection: &mut PgConnection) -> Result<(), String> {
        let told = |error: sqlx::Error| format!("{self}: {}", sentence(&error));
        let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer")
            .fetch_one(&mut *connection)
            .await
            .map_err(told)?;
        if version < SERVER_VERSION_MIN {
            return Err(format!(
                "{self} is of PostgreSQL {}.{}: 14 or newer is needed",
                version / 10_000,
                version % 10_000
            ));
        }
        let timeout = limits::POSTGRES_MIGRATION_TIMEOUT.as_millis();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "set lock_timeout = {timeout}; set statement_timeout = 0"
        )))
        .execute(&mut *connection)
        .await
        .map_err(told)?;
        sqlx::query("select pg_advisory_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *connection)
            .await
            .map_err(told)?;
        let migrations = MIGRATIONS.map(|(version, description, sql)| {
            let sql = sql.into_sql_str();
            Migration::new(version, description.into(), MigrationType::Simple, sql, false)
        });
        let mut migrator = Migrator::with_migrations(migrations.into());
        migrator.set_locking(false);
        let migrated = migrator.run_direct(None, connection, false).await;
        migrated.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &MigrateError) -> String {
        match error {
            MigrateError::VersionMissing(version) => format!(
                "{self} has schema {version}, this build knows schemas up to {}: run the newer build that wrote it",
                MIGRATIONS.len()
            ),
            other => format!("the schema of {self} cannot be brought up to date: {other}"),
        }
    }
}

async fn prepare(connection: &mut PgConnection, session: Session) -> sqlx::Result<()> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(session.settings()))
        .execute(&mut *connection)
        .await?;
    // Ends what a client that went away has left running. Servers on some systems cannot: then it runs into its time limit.
    let _ = sqlx::raw_sql("set client_connection_check_interval = '1s'")
        .execute(connection)
        .await;
    Ok(())
}

/// A connection for work that may be dropped half way: it goes back to its pool by [`Lease::give_back`] alone, and is closed otherwise, so that
/// PostgreSQL rolls back what was not committed.
pub(crate) struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    pub(crate) async fn take(pool: &PgPool) -> sqlx::Result<Self> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    /// Runs statements that have no parameters and no answer.
    pub(crate) async fn run(&mut self, sql: impl Into<String>) -> sqlx::Result<()> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.into()))
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    pub(crate) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        // Taken out only by the two functions that end it.
        self.0
            .as_deref()
            .unwrap_or_else(|| unreachable!("a lease that has ended is not used"))
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0
            .as_deref_mut()
            .unwrap_or_else(|| unreachable!("a lease that has ended is not used"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
