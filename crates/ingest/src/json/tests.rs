use proptest::prelude::*;

use super::*;

fn replaced(text: &str) -> String {
    String::from_utf8(storable(Cow::Borrowed(text.as_bytes())).into_owned()).unwrap()
}

#[test]
fn nul_and_halves_of_pairs_become_the_replacement_character() {
    for (text, expected) in [
        (r#""a\u0000b""#, r#""a\ufffdb""#),
        (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
        (r#""\uD83D\uDE00""#, r#""\uD83D\uDE00""#),
        (r#""\ud83d""#, r#""\ufffd""#),
        (r#""\ude00""#, r#""\ufffd""#),
        (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
        (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
        (r#""\ud83d\n""#, r#""\ufffd\n""#),
        (r#""\\u0000""#, r#""\\u0000""#),
        (r#""\\\u0000""#, r#""\\\ufffd""#),
        (r#""\\\\ud83d""#, r#""\\\\ud83d""#),
        (r#""\u0041\u00e9""#, r#""\u0041\u00e9""#),
        (r#""\u00"#, r#""\u00"#),
        (r#""\uzzzz\u0000"#, r#""\uzzzz\ufffd"#),
        ("\\", "\\"),
        ("", ""),
    ] {
        assert_eq!(replaced(text), expected, "{text}");
    }
}

#[test]
fn a_body_without_such_escapes_is_not_copied_and_loses_its_byte_order_mark() {
    assert!(matches!(storable(Cow::Borrowed(br#"{"a":"\n"}"#)), Cow::Borrowed(_)));
    assert_eq!(replaced("\u{feff}{}"), "{}");
    let owned = storable(Cow::Owned("\u{feff}\"\\u0000\"".as_bytes().to_vec()));
    assert_eq!(owned.as_ref(), br#""\ufffd""#);
}

#[test]
fn properties_keep_numbers_order_and_duplicates_and_lose_only_white_space() {
    for (raw, expected) in [
        ("{}", "{}"),
        ("{ }", "{}"),
        (r#"{"b":1.10,"a":1e2,"b":-0.0}"#, r#"{"b":1.10,"a":1e2,"b":-0.0}"#),
        (
            "{\n\t\"a b\" : [ 1 , { } , \"c \\\" d\\\\\" ] ,\r\n\"e\": null }",
            "{\"a b\":[1,{},\"c \\\" d\\\\\"],\"e\":null}",
        ),
        (
            r#"{"n":123456789012345678901234567890}"#,
            r#"{"n":123456789012345678901234567890}"#,
        ),
        (r#"{"ключ": "значение 😀"}"#, r#"{"ключ":"значение 😀"}"#),
        (r#"{"text":"1e999"}"#, r#"{"text":"1e999"}"#),
    ] {
        assert_eq!(properties(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn only_an_object_is_properties() {
    for (raw, what) in [
        ("[]", "an array"),
        (r#""{}""#, "a string"),
        ("1", "a number"),
        ("-1", "a number"),
        ("true", "a boolean"),
    ] {
        assert_eq!(properties(raw), Err(format!("Must be an object, but is {what}.")));
    }
}

#[test]
fn numbers_that_a_store_refuses_are_refused_here() {
    let long = format!("0.{}", "1".repeat(limits::JSON_NUMBER_BYTES_MAX));
    let huge = "9".repeat(310);
    for number in [
        "1e400",
        "-1E+309",
        "1e-401",
        "1e99999999999",
        long.as_str(),
        huge.as_str(),
    ] {
        let raw = format!(r#"{{"a":[{number}]}}"#);
        let sentence = properties(&raw).unwrap_err();
        assert!(
            sentence.starts_with("Has a number that cannot be stored: \""),
            "{number}: {sentence}"
        );
    }
    let largest = "9".repeat(308);
    for number in ["1e308", "-1.7976931348623157e308", "1E-400", "5e-324", largest.as_str()] {
        let raw = format!(r#"{{"a":{number}}}"#);
        assert_eq!(properties(&raw).as_deref(), Ok(raw.as_str()));
    }
}

#[test]
fn nesting_stops_at_the_limit() {
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(properties(&nested(limits::JSON_DEPTH_MAX)).is_ok());
    assert_eq!(
        properties(&nested(limits::JSON_DEPTH_MAX + 1)),
        Err("Must not nest deeper than 100 levels.".to_owned())
    );
    let side_by_side = format!("{{\"a\":[{}0]}}", "[],{},".repeat(limits::JSON_DEPTH_MAX));
    assert!(properties(&side_by_side).is_ok());
}

#[test]
fn the_size_is_counted_without_white_space() {
    let of_size = |bytes: usize, spaces: &str| format!("{{{spaces}\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let limit = limits::PROPERTIES_BYTES_MAX;
    assert_eq!(properties(&of_size(limit, "  ")).map(|text| text.len()), Ok(limit));
    assert_eq!(
        properties(&of_size(limit + 1, "")),
        Err("Must be at most 65536 bytes as JSON, but is 65537.".to_owned())
    );
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn pretty_properties_become_what_a_serializer_writes(value in any_value()) {
        let value = serde_json::json!({ "value": value });
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let compact = properties(&pretty).unwrap();
        prop_assert_eq!(compact.as_ref(), serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn after_replacing_every_string_parses(units in proptest::collection::vec(any::<u16>(), 0..20)) {
        let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let body = storable(Cow::Owned(format!("\"{escapes}\"").into_bytes())).into_owned();
        let text: String = serde_json::from_slice(&body).unwrap();
        prop_assert!(!text.contains('\0'));
        prop_assert_eq!(text, String::from_utf16_lossy(&units).replace('\0', "\u{fffd}"));
    }
}
