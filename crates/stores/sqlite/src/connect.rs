//! Opening the file: settings of every connection, file mode, migrations.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use sqlx::{
    ConnectOptions, SqlSafeStr, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use store::MetaError;

use crate::error::{is_busy, unavailable};

/// How long a writer waits for another process's write: metadata writes take milliseconds, migrations at most seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call waits for a free connection: longer than a writer that waits for its turn.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one process: the poll of the version must not wait behind a writer.
const CONNECTIONS_MAX: u32 = 4;
/// Between two tries to turn a new file into one with a write-ahead log.
const OPEN_RETRY_PAUSE: Duration = Duration::from_millis(20);
/// The file's owner reads and writes, nobody else does anything.
const FILE_MODE: u32 = 0o600;

/// Every migration, oldest first. Never change one that has been released: add the next.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (
        1,
        "projects, sources, people",
        include_str!("../migrations/0001_projects_sources_people.sql"),
    ),
    (2, "leases", include_str!("../migrations/0002_leases.sql")),
];

/// Opens the file, makes it when it is missing, and applies the migrations that it lacks.
pub(crate) async fn open(path: &Path) -> Result<SqlitePool, MetaError> {
    prepare_file(path).map_err(|error| {
        MetaError::Unavailable(format!(
            "{} cannot be opened for reading and writing: {error}; check that its directory exists and belongs to this user",
            path.display()
        ))
    })?;
    let pool = connect(path).await.map_err(unavailable)?;
    match migrate(&pool).await {
        Ok(()) => Ok(pool),
        Err(error) => {
            pool.close().await;
            Err(refused(path, &error))
        }
    }
}

/// Makes the file before SQLite does, because SQLite would leave its mode to the umask. Its side files get the mode of the file.
fn prepare_file(path: &Path) -> std::io::Result<()> {
    let made = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o777 == FILE_MODE {
                return Ok(());
            }
            fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE))
        }
        Err(error) => Err(error),
    }
}

/// Turning a new file into one with a write-ahead log needs it alone, and SQLite does not always wait for that: another process
/// that opens the same new file at the same moment is waited for here.
async fn connect(path: &Path) -> sqlx::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .disable_statement_logging();
    let started = tokio::time::Instant::now();
    loop {
        let tried = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await;
        match tried {
            Err(error) if is_busy(&error) && started.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(OPEN_RETRY_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Applies what is missing in one transaction that holds the write lock from before the look at what is there, so that of several
/// processes one migrates and the others find the work done. (sqlx's own lock does nothing on SQLite.)
async fn migrate(pool: &SqlitePool) -> Result<(), MigrateError> {
    let migrations = MIGRATIONS.map(|(version, description, sql)| {
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    let mut transaction = pool.begin_with("begin immediate").await?;
    // `run` does the same, but its future cannot be sent between threads; a changed signature would stop the build.
    Migrator::with_migrations(migrations.into())
        .run_direct(None, &mut *transaction, false)
        .await?;
    transaction.commit().await?;
    Ok(())
}

fn refused(path: &Path, error: &MigrateError) -> MetaError {
    let path = path.display();
    MetaError::Unavailable(match error {
        MigrateError::VersionMissing(version) => format!(
            "{path} has schema {version}, this build knows schemas up to {}: run the newer build that wrote it",
            MIGRATIONS.len()
        ),
        other => format!("the schema of {path} cannot be brought up to date: {other}"),
    })
}
