use super::*;

#[test]
fn values_are_read_in_order_and_json_to_the_byte() {
    let id = Uuid::from_u128(7);
    let now = Timestamp::default();
    let json = r#"{"b":1.50,"a":[1e3, 12345678901234567890123]}"#;
    let mut row = Row::new(vec![
        Value::Text("text".to_owned()),
        Value::Null,
        Value::Text(json.to_owned()),
        Value::Integer(3),
        Value::Instant(now),
        Value::Id(id),
    ]);
    assert_eq!(row.text().unwrap(), "text");
    assert_eq!(row.optional_text().unwrap(), None);
    assert_eq!(row.json().unwrap().get(), json);
    assert_eq!(row.count().unwrap(), 3);
    assert_eq!(row.instant().unwrap(), now);
    assert_eq!(row.id().unwrap(), id);
}

#[test]
fn a_wrong_value_is_told_by_its_place_and_not_shown() {
    let secret = || Value::Text("secret".to_owned());
    let errors = [
        Row::new(vec![secret()]).count().map(|_| ()),
        Row::new(vec![secret()]).json().map(|_| ()),
        Row::new(vec![secret()]).instant().map(|_| ()),
        Row::new(vec![secret()]).id().map(|_| ()),
        Row::new(vec![Value::Integer(1)]).optional_text().map(|_| ()),
        Row::new(vec![Value::Integer(-1)]).count().map(|_| ()),
        Row::new(vec![Value::Null]).text().map(|_| ()),
        Row::new(Vec::new()).text().map(|_| ()),
    ];
    for error in errors {
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("column 1 of the store's answer is no "), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
