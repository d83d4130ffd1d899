use serde_json::json;

use super::*;

/// A record's line, and its event or why it is none.
type Seen = (u64, Result<ImportEvent, String>);

fn records(text: &str) -> (Vec<Seen>, Vec<String>) {
    let mut records = NdjsonRecords::new(std::io::Cursor::new(text.to_owned()));
    let mut seen = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        seen.push((record.line, record.outcome.map_err(|refusal| refusal.reason)));
    }
    let ignored = records.ignored_fields();
    (seen, ignored)
}

#[test]
fn fields_are_kept_as_they_are_spelled() {
    let line = r#"{"event_id":"e1","event_name":"buy","event_source":"web","user_id":"u","session_id":"s","anonymous_id":"a","properties":{"b":1.10,"a":12345678901234567890},"timestamp":"2026-01-01T00:00:00.5+01:00","received_at":"2026-01-01T00:00:01Z","ip_address":"::1","user_agent":"x"}"#;
    let (seen, ignored) = records(line);
    let event = seen[0].1.as_ref().unwrap();
    assert_eq!(serde_json::to_string(event).unwrap(), line);
    assert!(ignored.is_empty());
}

#[test]
fn what_the_reading_api_answers_is_read_too() {
    let line = json!({"id": "01a20317-2b53-7d57-8df8-f276eeb3de8d", "event_id": null, "project_name": "p", "event_source_name": "web", "event_name": "a",
        "event_properties": {"x": [1]}, "timestamp": "2026-01-01T00:00:00Z", "created_at": "2026", "colour": 1});
    let (seen, ignored) = records(&line.to_string());
    let event = seen[0].1.as_ref().unwrap();
    // No client named it: it keeps the server's id, and gets no other.
    assert_eq!(event.id.as_deref(), Some("01a20317-2b53-7d57-8df8-f276eeb3de8d"));
    assert_eq!(
        (event.event_id.as_str(), event.event_source.as_deref()),
        ("", Some("web"))
    );
    assert_eq!(event.properties.0.get(), r#"{"x":[1]}"#);
    assert_eq!(ignored, ["colour"]);
}

#[test]
fn an_id_that_is_none_of_ours_names_the_event() {
    let ids = |id: &str, event_id: &str| {
        let line = json!({"id": id, "event_id": event_id, "event_name": "a", "timestamp": "2026-01-01T00:00:00Z"});
        let event = records(&line.to_string()).0.remove(0).1.unwrap();
        (event.id, event.event_id)
    };
    assert_eq!(ids("order-1", ""), (None, "order-1".to_owned()));
    assert_eq!(ids("order-1", "e"), (None, "e".to_owned()));
    let ours = "01a20317-2b53-7d57-8df8-f276eeb3de8d";
    assert_eq!(ids(ours, "e"), (Some(ours.to_owned()), "e".to_owned()));
}

#[test]
fn broken_lines_say_why_and_do_not_end_the_file() {
    let good = r#"{"event_name":"a","timestamp":"2026-01-01T00:00:00Z"}"#;
    let long = format!(r#"{{"event_name":"{}"}}"#, "x".repeat(IMPORT_LINE_BYTES_MAX));
    let lines = [
        ("{", "the line is not JSON"),
        ("[1]", "the line is no JSON object"),
        (r#"{"timestamp":"2026-01-01T00:00:00Z"}"#, "event_name is missing"),
        (r#"{"event_name":"a"}"#, "timestamp is missing"),
        (r#"{"event_name":1,"timestamp":"2026"}"#, "event_name is no text"),
        (
            r#"{"event_name":"a","timestamp":"2026","properties":[]}"#,
            "properties is no object",
        ),
        (long.as_str(), "the line has more than 1048576 bytes"),
    ];
    let text: String = lines.iter().map(|(line, _)| format!("{line}\n\n{good}\n")).collect();
    let (seen, _) = records(&text);
    for (index, (line, reason)) in lines.iter().enumerate() {
        let (number, outcome) = &seen[2 * index];
        assert_eq!(*number, 3 * index as u64 + 1);
        assert_eq!(
            outcome.as_ref().err().map(String::as_str),
            Some(*reason),
            "{}",
            &line[..line.len().min(60)]
        );
        assert!(seen[2 * index + 1].1.is_ok());
    }
    // Seven identical events without ids of their own: seven ids.
    let ids: std::collections::BTreeSet<_> = seen
        .iter()
        .filter_map(|(_, outcome)| Some(&outcome.as_ref().ok()?.event_id))
        .collect();
    assert_eq!(ids.len(), lines.len());
}
