//! This machine: the data directory and its disk, what a process may open, the clock.

use std::{fs, os::unix::fs::PermissionsExt};

use model::{Clock, SystemClock, Timestamp, inspection::Inspection, limits};
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::{config::Settings, output::size, wiring};

/// Bytes that should be free, whatever the disk's size: a busy day's events.
const FREE_BYTES_MIN: u64 = 2 << 30;
/// Open files of a busy server: its connections and some for the stores.
const OPEN_FILES_MIN: u64 = 4_096;
/// No clock that is right says less.
const BUILT_AFTER: &str = "2026-01-01T00:00:00Z";
/// File systems by the number that `statfs` tells, and what speaks against them.
const FILE_SYSTEMS: [(u64, &str, &str); 8] = [
    (
        0x0102_1994,
        "tmpfs",
        "it is memory: a restart of the machine costs all events",
    ),
    (
        0x8584_58f6,
        "ramfs",
        "it is memory: a restart of the machine costs all events",
    ),
    (
        0x6969,
        "NFS",
        "locks and flushes over the network may not hold what the stores rely on",
    ),
    (
        0xff53_4d42,
        "CIFS",
        "locks and flushes over the network may not hold what the stores rely on",
    ),
    (
        0xfe53_4d42,
        "SMB2",
        "locks and flushes over the network may not hold what the stores rely on",
    ),
    (
        0x0102_1997,
        "9p",
        "locks and flushes may not hold what the stores rely on",
    ),
    (0x6573_5546, "FUSE", "whether it flushes depends on its program"),
    (
        0x794c_7630,
        "overlayfs",
        "a container's own layer goes with the container",
    ),
];

pub(super) const CHECKS: &[Check] = &[
    data_directory,
    permissions,
    file_system,
    free_space,
    tables,
    open_files,
    clock,
];

fn data_directory(settings: &Settings, found: &mut Inspection) {
    let directory = &settings.data_dir;
    found.fact("data_dir", directory.display().to_string());
    if !directory.exists() {
        found.warn(
            format!("the data directory {} does not exist yet", directory.display()),
            "the first start makes it; if there was one, correct DATA_DIR",
        );
        return;
    }
    match tempfile::tempfile_in(directory) {
        Ok(_) => found.ok(format!("the data directory {} can be written", directory.display())),
        Err(error) => found.problem(
            format!("the data directory {} cannot be written: {error}", directory.display()),
            "give it to the user who runs the server, or set DATA_DIR",
        ),
    }
}

fn permissions(settings: &Settings, found: &mut Inspection) {
    let Ok(about) = fs::metadata(&settings.data_dir) else {
        return;
    };
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        found.warn(
            format!("others may look into the data directory (mode {mode:o}), where keys and password hashes are"),
            format!("chmod 700 {}", settings.data_dir.display()),
        );
    }
}

fn file_system(settings: &Settings, found: &mut Inspection) {
    let Ok(about) = rustix::fs::statfs(&settings.data_dir) else {
        return;
    };
    let number = u64::try_from(about.f_type).unwrap_or(0) & 0xffff_ffff;
    if let Some((_, name, why)) = FILE_SYSTEMS.iter().find(|(known, _, _)| *known == number) {
        found.fact("file_system", *name);
        found.warn(
            format!("the data directory is on {name}: {why}"),
            "set DATA_DIR to a directory on a local disk",
        );
    }
}

fn free_space(settings: &Settings, found: &mut Inspection) {
    let Ok(disk) = rustix::fs::statvfs(&settings.data_dir) else {
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    found.fact("disk_free_bytes", free);
    let text = format!("{} are free on the disk of the data directory", size(free));
    let remedy = "free some room: without it events are refused";
    if free < limits::DISK_FREE_BYTES_MIN {
        found.problem(text, remedy);
    } else if free < FREE_BYTES_MIN {
        found.warn(text, remedy);
    } else {
        found.ok(text);
    }
}

fn tables(settings: &Settings, found: &mut Inspection) {
    for name in wiring::missing_tables(settings) {
        found.warn(
            format!("the run-time table {name} is missing: what is read from it stays empty"),
            "fetch it again (scripts/setup.sh), or set RUNTIME_DIR to where it is",
        );
    }
}

fn open_files(_: &Settings, found: &mut Inspection) {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    found.fact("open_files_max", most);
    if most < OPEN_FILES_MIN {
        found.warn(
            format!("a process started from here may open {most} files, connections among them"),
            format!("raise the limit (`ulimit -n {OPEN_FILES_MIN}`, LimitNOFILE of systemd)"),
        );
    }
}

fn clock(_: &Settings, found: &mut Inspection) {
    let now = SystemClock.now();
    if BUILT_AFTER.parse::<Timestamp>().is_ok_and(|built| now < built) {
        found.problem(
            format!("this machine's clock says {now}"),
            "set the clock, and let it be synchronised (NTP)",
        );
    }
}
