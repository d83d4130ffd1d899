use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn names(bytes: Vec<u8>) -> io::Result<Vec<String>> {
    let mut records = records(Cursor::new(bytes), &Hints::default())?;
    let mut names = Vec::new();
    while let Some(record) = records.next_record()? {
        names.push(
            record
                .outcome
                .map_or_else(|refusal| refusal.reason, |event| event.event_name),
        );
    }
    Ok(names)
}

const NDJSON: &str = "\n{\"event_name\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\"}\n";
const CSV: &str = "\u{feff}user_id,timestamp,event_name\nu,2026-01-01T00:00:00Z,b\n";
const LOG: &str = "10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n";

#[test]
fn the_first_line_tells_the_format_plain_or_gzip() {
    for (text, name) in [(NDJSON, "a"), (CSV, "b"), (LOG, "page_view")] {
        assert_eq!(names(text.as_bytes().to_vec()).unwrap(), [name]);
        assert_eq!(names(gzip(text.as_bytes())).unwrap(), [name]);
        // Files put together by `cat` have several gzip members.
        let twice = [gzip(text.as_bytes()), gzip(LOG.as_bytes())].concat();
        assert_eq!(names(twice).unwrap().len(), 2, "{text}");
    }
    assert_eq!(names(Vec::new()).unwrap(), [""; 0]);
    assert!(
        names(b"one,two\n".to_vec())
            .unwrap_err()
            .to_string()
            .contains("say --format")
    );
}

#[test]
fn a_cut_gzip_file_is_an_error_not_an_end() {
    let whole = gzip(LOG.repeat(2_000).as_bytes());
    let error = names(whole[..whole.len() / 2].to_vec()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

/// The numbers were counted with `zcat | awk`, by the rules that the module notes state.
#[test]
fn a_real_access_log_is_read_to_the_last_line() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/access-log-2015.gz");
    let count = Arc::new(AtomicU64::new(0));
    let mut records = open(Path::new(file), &Hints::default(), Arc::clone(&count)).unwrap();
    let mut statuses: BTreeMap<i64, u32> = BTreeMap::new();
    let mut days: BTreeMap<String, u32> = BTreeMap::new();
    let (mut page_views, mut bytes, mut referrers, mut agents) = (0, 0, 0, 0);
    let mut ids = std::collections::HashSet::new();
    let mut addresses = std::collections::HashSet::new();
    while let Some(record) = records.next_record().unwrap() {
        let event = record
            .outcome
            .unwrap_or_else(|refusal| panic!("line {}: {}", record.line, refusal.reason));
        let properties: Value = serde_json::from_str(event.properties.0.get()).unwrap();
        page_views += u32::from(event.event_name == "page_view");
        bytes += properties["bytes"].as_i64().unwrap_or(0);
        referrers += u32::from(!properties["referrer"].is_null());
        agents += u32::from(event.user_agent.is_some());
        *statuses.entry(properties["status"].as_i64().unwrap()).or_default() += 1;
        *days.entry(event.timestamp[..10].to_owned()).or_default() += 1;
        ids.insert(event.event_id);
        addresses.insert(event.ip_address.unwrap());
    }
    assert_eq!(
        (page_views, bytes, referrers, agents),
        (3_918, 2_747_282_740, 5_927, 9_810)
    );
    let expected = [
        (200, 9_126),
        (206, 45),
        (301, 164),
        (304, 445),
        (403, 2),
        (404, 213),
        (416, 2),
        (500, 3),
    ];
    assert_eq!(statuses, expected.into());
    let expected = [
        ("2015-05-17", 1_632),
        ("2015-05-18", 2_893),
        ("2015-05-19", 2_896),
        ("2015-05-20", 2_579),
    ];
    assert_eq!(days, expected.map(|(day, count)| (day.to_owned(), count)).into());
    // 9,981 lines are distinct; the others keep ids of their own.
    assert_eq!((ids.len(), addresses.len()), (10_000, 1_753));
    assert_eq!(count.load(Ordering::Relaxed), std::fs::metadata(file).unwrap().len());
}
