use proptest::prelude::*;

use super::*;

fn records(text: &[u8]) -> io::Result<Vec<(u64, Result<ImportEvent, String>)>> {
    let mut records = CsvRecords::new(io::Cursor::new(text.to_vec()))?;
    let mut seen = Vec::new();
    while let Some(record) = records.next_record()? {
        seen.push((record.line, record.outcome.map_err(|refusal| refusal.reason)));
    }
    Ok(seen)
}

#[test]
fn columns_are_fields_or_properties() {
    let text = "timestamp,event_name, plan ,user_id,anonymous_id,properties\n\
        2026-01-01T00:00:00Z,sign_up,\"pro, yearly\",u1,,\"{\"\"price\"\":1.10,\"\"plan\"\":\"\"x\"\"}\"\n\
        2026-01-01T00:00:01Z,visit,,,a1,\n";
    let seen = records(text.as_bytes()).unwrap();
    let first = seen[0].1.as_ref().unwrap();
    assert_eq!(
        (first.event_name.as_str(), first.user_id.as_deref()),
        ("sign_up", Some("u1"))
    );
    // The JSON column wins over a column of the same name.
    assert_eq!(first.properties.0.get(), r#"{"price":1.1,"plan":"x"}"#);
    let second = seen[1].1.as_ref().unwrap();
    assert_eq!((second.user_id.as_deref(), second.properties.0.get()), (None, "{}"));
    assert_eq!(
        (first.anonymous_id.as_deref(), second.anonymous_id.as_deref()),
        (None, Some("a1"))
    );
    assert_ne!(first.event_id, second.event_id);
    assert_eq!(records(text.as_bytes()).unwrap(), seen);
}

#[test]
fn bad_records_say_why_with_their_lines() {
    let text = b"event_name,timestamp,properties\n\
        a,2026-01-01T00:00:00Z\n\
        \"a\nb\",2026-01-01T00:00:00Z,{}\n\
        ,2026-01-01T00:00:00Z,{}\n\
        a,,{}\n\
        a,2026-01-01T00:00:00Z,[]\n\
        a\xff,2026-01-01T00:00:00Z,{}\n";
    let seen = records(text).unwrap();
    let told: Vec<(u64, Option<&str>)> = seen
        .iter()
        .map(|(line, outcome)| (*line, outcome.as_ref().err().map(String::as_str)))
        .collect();
    assert_eq!(
        told,
        [
            (2, Some("the record has not 3 columns as the head")),
            (3, None),
            (5, Some("event_name is missing")),
            (6, Some("timestamp is missing")),
            (7, Some("properties is no JSON object")),
            (8, Some("the record is not UTF-8")),
        ]
    );
}

#[test]
fn a_head_without_the_needed_columns_and_an_open_quote_end_the_file() {
    let error = records(b"name,time\na,b\n").unwrap_err().to_string();
    assert!(error.contains("no column event_name"), "{error}");
    let mut open = b"event_name,timestamp\n\"a".to_vec();
    open.resize(3 * IMPORT_LINE_BYTES_MAX, b'x');
    let error = records(&open).unwrap_err().to_string();
    assert!(error.contains("a quote may be open"), "{error}");
}

fn text() -> impl Strategy<Value = String> {
    // Not blank: blank cells count as absent.
    "[a-z,\"\n\r;äß=]{0,6}[a-z]"
}

fn event() -> impl Strategy<Value = ImportEvent> {
    let optional = || proptest::option::of(text());
    let properties = proptest::collection::btree_map(text(), text(), 0..3);
    let id = proptest::option::of(Just("01a20317-2b53-7d57-8df8-f276eeb3de8d".to_owned()));
    (
        (text(), text(), optional(), optional()),
        (optional(), optional(), optional(), id),
        properties,
    )
        .prop_map(
            |((event_id, event_name, event_source, user_id), (session_id, received_at, user_agent, id), properties)| {
                let map: Map<String, Value> = properties
                    .into_iter()
                    .map(|(name, value)| (name, Value::String(value)))
                    .collect();
                ImportEvent {
                    id,
                    event_id,
                    event_name,
                    event_source,
                    user_id,
                    session_id,
                    anonymous_id: None,
                    properties: Properties::from(&map),
                    timestamp: "2026-01-01T00:00:00Z".to_owned(),
                    received_at,
                    ip_address: None,
                    user_agent,
                }
            },
        )
}

fn as_json(event: &ImportEvent) -> String {
    serde_json::to_string(event).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(events in proptest::collection::vec(event(), 0..5)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(COLUMNS).unwrap();
        for event in &events {
            writer.write_record(cells(event)).unwrap();
        }
        let csv = writer.into_inner().unwrap();
        let read: Vec<String> = records(&csv).unwrap().iter().map(|(_, outcome)| as_json(outcome.as_ref().unwrap())).collect();
        let written: Vec<String> = events.iter().map(as_json).collect();
        prop_assert_eq!(&read, &written);
        let ndjson: String = events.iter().map(|event| as_json(event) + "\n").collect();
        let mut records = super::super::ndjson::NdjsonRecords::new(io::Cursor::new(ndjson));
        let mut read = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            read.push(as_json(&record.outcome.unwrap()));
        }
        prop_assert_eq!(read, written);
    }
}
