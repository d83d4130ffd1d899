use super::*;

fn micros(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_micros)
}

#[test]
fn reads_rfc_3339_and_takes_a_missing_zone_as_utc() {
    let expected = Some(1_767_225_600_000_000);
    for text in [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00+00:00",
        "2026-01-01T01:00:00+01:00",
        "2025-12-31T19:00:00-05:00",
        "2026-01-01",
    ] {
        assert_eq!(micros(text), expected, "{text}");
    }
    assert_eq!(micros("2026-01-01T00:00:00.123456Z"), Some(1_767_225_600_123_456));
    assert_eq!(micros("2026-01-01T00:00:00.1234569Z"), Some(1_767_225_600_123_456));
}

#[test]
fn refuses_what_is_no_time() {
    for text in [
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30",
        "1767225600",
        "-0005-01-01T00:00:00Z",
        "12:00",
    ] {
        assert_eq!(micros(text), None, "{text}");
    }
    assert_eq!(micros(&"2026-01-01T00:00:00Z".repeat(100)), None);
}

#[test]
fn prints_utc_with_z_and_reads_itself_back() {
    for micros in [
        0,
        1,
        -1,
        1_767_225_600_123_456,
        1_767_225_600_120_000,
        Timestamp::MIN.0,
        Timestamp::MAX.0,
    ] {
        let instant = Timestamp::from_micros(micros).unwrap();
        let text = instant.to_string();
        assert!(text.ends_with('Z'), "{text}");
        assert_eq!(text.parse(), Ok(instant), "{text}");
    }
    assert_eq!(
        Timestamp(1_767_225_600_120_000).to_string(),
        "2026-01-01T00:00:00.120000Z"
    );
}
