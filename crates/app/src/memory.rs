//! Memory of the process: what is asked of the allocator and of the system so that it stays small (`docs/performance.md`).

use std::{fs, io, ops::Range};

use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};
use model::limits;
use rustix::{mm, thread};

/// `mi_option_purge_delay`, which the crate has no name for.
const PURGE_DELAY: mi_option_t = 15;

/// To be called first thing.
pub fn configure() {
    // A touched byte would cost 2 MB, and the allocator asks for such pages: 22 MB of an idle server, 50 MB of a busy one, for no
    // measurable speed. A system that cannot turn them off runs as well.
    let _ = thread::disable_transparent_huge_pages(true);
    let delay_ms = i32::try_from(limits::FREED_MEMORY_DELAY.as_millis()).unwrap_or(i32::MAX);
    #[expect(unsafe_code, reason = "a C function; sets one number, may be called at any time")]
    // SAFETY: no pointers, and the option exists (see the test).
    unsafe {
        mi_option_set(PURGE_DELAY, delay_ms.into());
    }
}

/// Gives back what only the start needed: memory that is free again (hashing a password takes 19 MB), and pages of program and libraries,
/// of which DuckDB's start alone touches 20 MB. Those come back from the page cache when they are needed after all.
pub fn give_back() {
    #[expect(unsafe_code, reason = "a C function; touches free memory only")]
    // SAFETY: no pointers; memory in use stays.
    unsafe {
        mi_collect(true);
    }
    if let Err(error) = drop_file_pages() {
        tracing::debug!(%error, "pages of the program stay in memory");
    }
}

fn drop_file_pages() -> io::Result<()> {
    for range in unchanged_mappings(&fs::read_to_string("/proc/self/smaps")?) {
        #[expect(unsafe_code, reason = "there is no safe way to say this of a range of addresses")]
        // SAFETY: paging out loses nothing, whatever is mapped there by now: whoever needs a page gets it back as it was.
        unsafe {
            mm::madvise(
                std::ptr::without_provenance_mut(range.start),
                range.len(),
                mm::Advice::LinuxPageOut,
            )?;
        }
    }
    Ok(())
}

/// Of a text as `/proc/self/smaps`: the read-only mappings of files that hold nothing but what is in the file. One page that was ever
/// changed, as by relocation, makes a mapping a different one: it would be lost.
fn unchanged_mappings(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(changed) = line.strip_prefix("Anonymous:") {
            found.extend(candidate.take().filter(|_| changed.trim() == "0 kB"));
        } else if let Some((range, is_file)) = read_only_mapping(line) {
            candidate = is_file.then_some(range);
        }
    }
    found
}

/// The range of a line that starts a mapping, and whether it is a private, read-only one of a file.
fn read_only_mapping(line: &str) -> Option<(Range<usize>, bool)> {
    // Range, permissions, offset, device, inode, path.
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
    let is_read_only = matches!(fields.next()?, "r--p" | "r-xp");
    Some((range, is_read_only && fields.nth(3)?.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
5600-5700 r-xp 00001000 fe:00 12 /usr/bin/program
Rss:                 100 kB
Anonymous:             0 kB
VmFlags: rd ex
5700-5800 r--p 00002000 fe:00 12 /usr/bin/program
Anonymous:            12 kB
5800-5900 rw-p 00003000 fe:00 12 /usr/bin/program
Anonymous:             0 kB
5900-5a00 r--s 00000000 fe:00 13 /var/shared
Anonymous:             0 kB
5a00-5b00 r--p 00000000 00:00 0
Anonymous:             0 kB
7f00-7fff r--p 00000000 fe:00 14 /lib/a b.so (deleted)
Anonymous:             0 kB
7fff-8000 r-xp 00000000 00:00 0                  [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_pages_that_are_as_in_their_file_are_dropped() {
        assert_eq!(unchanged_mappings(SMAPS), [0x5600..0x5700, 0x7f00..0x7fff]);
        for nothing in ["", "5600-5700 r-xp 0 0 1 /cut/off", "no mapping at all"] {
            assert!(unchanged_mappings(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        // At least the program's own code. How many pages go depends on who else has them: other tests run the same program.
        assert!(!unchanged_mappings(&smaps).is_empty(), "{smaps}");
        drop_file_pages().unwrap();
        give_back();
    }

    #[test]
    fn the_number_of_the_option_is_right() {
        #[expect(unsafe_code, reason = "a C function; reads a number")]
        // SAFETY: no pointers.
        let default = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // The delay's default: another version of the library that counts its options otherwise ends here.
        assert_eq!(default, 1_000);
        configure();
        #[expect(unsafe_code, reason = "a C function; reads a number")]
        // SAFETY: no pointers.
        let now = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(u128::try_from(now), Ok(limits::FREED_MEMORY_DELAY.as_millis()));
    }
}
