use std::collections::HashSet;

use super::*;

#[test]
fn names_are_unique_and_each_endpoint_has_exactly_one_format() {
    let names: HashSet<_> = FORMATS.iter().map(|format| format.name()).collect();
    assert_eq!(names.len(), FORMATS.len());
    for endpoint in [Endpoint::Single, Endpoint::Batch] {
        let at_it: Vec<_> = FORMATS
            .iter()
            .filter(|format| format.is_at(endpoint))
            .map(|format| format.name())
            .collect();
        assert_eq!(at_it, [for_endpoint(endpoint).name()]);
    }
}

#[test]
fn errors_say_where() {
    let error = parse::<serde_json::Value>(b"{\"a\":1,\n\"b\" 2}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "The body is not valid JSON: expected `:` at line 2 column 5."
    );
    let error = parse::<serde_json::Value>(b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(error.to_string(), "The body is not valid JSON: byte 7 is not UTF-8.");
}
