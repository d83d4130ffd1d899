use model::{FieldErrors, Project, Source};
use testkit::{build::instant, directory};
use uuid::Uuid;

use super::*;
use crate::{AggregationRequest, EventsRequest, SummaryRequest};

const NOW: &str = "2026-01-15T12:00:00Z";

fn pairs(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn parse(parameters: &[(&str, &str)]) -> Result<Filters, FieldErrors> {
    EventsRequest::parse(&pairs(parameters), instant(NOW)).map(|request| request.filters)
}

fn range_of(parameters: &[(&str, &str)]) -> (String, String) {
    let range = parse(parameters).unwrap().range;
    (range.from.to_string(), range.to.to_string())
}

fn errors_of(parameters: &[(&str, &str)]) -> String {
    serde_json::to_string(&parse(parameters).unwrap_err()).unwrap()
}

#[test]
fn the_default_range_is_24_hours() {
    let last_day = ("2026-01-14T12:00:00Z".to_owned(), NOW.to_owned());
    assert_eq!(range_of(&[]), last_day);
    assert_eq!(range_of(&[("start_date", ""), ("end_date", "  ")]), last_day);
    assert_eq!(
        range_of(&[("start_date", "2026-01-01T00:00:00Z")]),
        ("2026-01-01T00:00:00Z".to_owned(), "2026-01-02T00:00:00Z".to_owned())
    );
    assert_eq!(
        range_of(&[("end_date", "2026-01-01T00:00:00Z")]),
        ("2025-12-31T00:00:00Z".to_owned(), "2026-01-01T00:00:00Z".to_owned())
    );
}

#[test]
fn times_are_rfc_3339_and_utc_without_a_zone() {
    let expected = (
        "2025-12-31T23:00:00Z".to_owned(),
        "2026-01-03T00:00:00.500000Z".to_owned(),
    );
    for (start, end) in [
        ("2025-12-31T23:00:00Z", "2026-01-03T00:00:00.5Z"),
        ("2026-01-01T00:00:00+01:00", "2026-01-02T19:00:00.5-05:00"),
        (" 2025-12-31T23:00:00 ", "2026-01-03 00:00:00.500"),
    ] {
        assert_eq!(
            range_of(&[("start_date", start), ("end_date", end)]),
            expected,
            "{start}"
        );
    }
}

#[test]
fn a_range_runs_forward_and_is_bounded() {
    for end in ["2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z"] {
        assert_eq!(
            errors_of(&[("start_date", "2026-01-01T00:00:00Z"), ("end_date", end)]),
            r#"{"start_date":["The start must be before the end."]}"#
        );
    }
    // 3660 days are allowed to the microsecond.
    assert!(parse(&[("start_date", "2016-01-01"), ("end_date", "2026-01-08")]).is_ok());
    assert_eq!(
        errors_of(&[
            ("start_date", "2016-01-01"),
            ("end_date", "2026-01-08T00:00:00.000001Z")
        ]),
        r#"{"start_date":["The range must not be longer than 3660 days."]}"#
    );
    assert_eq!(
        errors_of(&[("end_date", "0001-01-01T00:00:00Z")]),
        r#"{"end_date":["The start must be before the end."]}"#,
        "there is nothing before the first instant"
    );
}

#[test]
fn every_bad_parameter_is_named_at_once() {
    assert_eq!(
        errors_of(&[
            ("start_date", "yesterday"),
            ("end_date", "2026-02-30"),
            ("event_source_id", "web"),
            ("page", "one"),
            ("page_size", "-1"),
            ("colour", "blue"),
        ]),
        r#"{"start_date":["Enter a time in RFC 3339 form, such as 2026-01-31T12:00:00Z."],"#.to_owned()
            + r#""end_date":["Enter a time in RFC 3339 form, such as 2026-01-31T12:00:00Z."],"#
            + r#""event_source_id":["Enter the id of a source: a UUID."],"page":["Enter a whole number, from 1."],"#
            + r#""page_size":["Enter a whole number from 1 to 1000."]}"#
    );
}

#[test]
fn a_bad_end_is_no_reason_to_complain_about_the_range() {
    assert_eq!(
        errors_of(&[("start_date", "2026-01-01"), ("end_date", "soon")]),
        r#"{"end_date":["Enter a time in RFC 3339 form, such as 2026-01-31T12:00:00Z."]}"#
    );
}

#[test]
fn texts_are_taken_as_they_are_stored() {
    let filters = parse(&[
        ("event_name", " page view "),
        ("user_id", " u 1 "),
        ("event_source_id", "5AD3E9A2-7f1c-4a57-9e62-0d6f24b1c111"),
        ("event_name ", "ignored"),
    ])
    .unwrap();
    assert_eq!(
        filters.event_name.as_deref(),
        Some("page view"),
        "names are stored trimmed"
    );
    assert_eq!(filters.user_id.as_deref(), Some(" u 1 "), "user ids are stored as sent");
    assert_eq!(
        filters.event_source_id.unwrap().to_string(),
        "5ad3e9a2-7f1c-4a57-9e62-0d6f24b1c111"
    );
    let blank = parse(&[("event_name", "  "), ("user_id", "\t"), ("event_source_id", "")]).unwrap();
    assert_eq!(blank, parse(&[]).unwrap());
    let twice = parse(&[("event_name", "first"), ("event_name", "last")]).unwrap();
    assert_eq!(twice.event_name.as_deref(), Some("last"));
}

#[test]
fn all_lists_read_the_same_parameters() {
    let all = pairs(&[
        ("start_date", "2026-01-01"),
        ("event_name", "a"),
        ("user_id", "u"),
        ("page", "3"),
        ("page_size", "7"),
    ]);
    let now = instant(NOW);
    let events = EventsRequest::parse(&all, now).unwrap();
    let aggregations = AggregationRequest::parse(&all, now).unwrap();
    let summaries = SummaryRequest::parse(&all, now).unwrap();
    assert_eq!(
        (&aggregations.filters, aggregations.page),
        (&events.filters, events.page)
    );
    assert_eq!((&summaries.filters, summaries.page), (&events.filters, events.page));
    let bad = pairs(&[("page", "x")]);
    assert!(EventsRequest::parse(&bad, now).is_err());
    assert!(AggregationRequest::parse(&bad, now).is_err());
    assert!(SummaryRequest::parse(&bad, now).is_err());
}

#[tokio::test]
async fn a_source_is_one_of_the_project() {
    let now = instant(NOW);
    let (ours, theirs) = (
        Project::new("ours".to_owned(), now),
        Project::new("theirs".to_owned(), now),
    );
    let (our_source, their_source) = (
        Source::auto_created(ours.id, "web", now),
        Source::auto_created(theirs.id, "web", now),
    );
    let directory = directory::directory(
        vec![ours.clone(), theirs],
        vec![our_source.clone(), their_source.clone()],
    )
    .await;
    let scope = directory.operator(ours.id).unwrap();
    let condition_of = |id: Uuid| {
        let filters = parse(&[("event_source_id", &id.to_string())]).unwrap();
        let mut parameters = Parameters::default();
        filters
            .condition(&scope)
            .map(|condition| condition.sql(&mut parameters))
    };
    assert_eq!(
        condition_of(our_source.id.0).as_deref(),
        Some("timestamp >= $1 and timestamp < $2 and event_source = $3")
    );
    assert_eq!(
        condition_of(their_source.id.0),
        None,
        "a source of another project is none of ours"
    );
    assert_eq!(condition_of(Uuid::nil()), None);
}
