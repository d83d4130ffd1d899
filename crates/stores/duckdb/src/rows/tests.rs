//! Every type that an answer may have, at its edges, and every type that it may not have.

use std::iter::repeat_n;

use super::*;

fn ask(sql: &str, parameters: &[Value]) -> Result<Rows, Failure> {
    let connection = Connection::open_in_memory().unwrap();
    query(&connection, sql, parameters.iter().map(bound).collect())
}

/// The values of one row.
fn values(sql: &str) -> Vec<Value> {
    let mut rows = ask(sql, &[]).unwrap().rows;
    assert_eq!(rows.len(), 1, "{sql}");
    rows.remove(0)
}

/// Why an answer is refused.
fn refusal(sql: &str) -> String {
    match ask(sql, &[]) {
        Err(Failure::Refused(message)) => message,
        other => panic!("{sql} must be refused: {other:?}"),
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn instant(value: &str) -> Value {
    Value::Instant(value.parse().unwrap())
}

#[test]
fn whole_numbers_come_at_both_ends_of_their_type() {
    for (data_type, least, most) in [
        ("TINYINT", i64::from(i8::MIN), i64::from(i8::MAX)),
        ("SMALLINT", i16::MIN.into(), i16::MAX.into()),
        ("INTEGER", i32::MIN.into(), i32::MAX.into()),
        ("BIGINT", i64::MIN, i64::MAX),
        ("HUGEINT", i64::MIN, i64::MAX),
        ("UTINYINT", 0, u8::MAX.into()),
        ("USMALLINT", 0, u16::MAX.into()),
        ("UINTEGER", 0, u32::MAX.into()),
        ("UBIGINT", 0, i64::MAX),
        ("DECIMAL(38, 0)", i64::MIN, i64::MAX),
    ] {
        let sql = format!("SELECT '{least}'::{data_type}, '{most}'::{data_type}");
        assert_eq!(
            values(&sql),
            [Value::Integer(least), Value::Integer(most)],
            "{data_type}"
        );
    }
    assert_eq!(
        values("SELECT sum(number) FROM (VALUES (9000000000000000000::BIGINT), (-1)) AS numbers (number)"),
        [Value::Integer(8_999_999_999_999_999_999)],
        "a sum is a HUGEINT"
    );
}

#[test]
fn whole_numbers_beyond_64_bits_are_refused_by_name() {
    for number in [
        "9223372036854775808::UBIGINT",
        "18446744073709551615::UBIGINT",
        "9223372036854775808::HUGEINT",
        "(-9223372036854775809)::HUGEINT",
        "'170141183460469231731687303715884105727'::HUGEINT",
        "'-170141183460469231731687303715884105728'::HUGEINT",
        "'99999999999999999999999999999999999999'::DECIMAL(38, 0)",
    ] {
        assert_eq!(
            refusal(&format!("SELECT 1 AS small, {number} AS big")),
            "column \"big\" of the answer holds a whole number beyond 64 bits",
            "{number}"
        );
    }
}

#[test]
fn numbers_keep_every_bit() {
    for (sql, expected) in [
        ("0.1::DOUBLE", 0.1),
        ("'1.7976931348623157e308'::DOUBLE", f64::MAX),
        ("'-1.7976931348623157e308'::DOUBLE", f64::MIN),
        ("'5e-324'::DOUBLE", 5e-324),
        ("'-0.0'::DOUBLE", -0.0),
        ("'infinity'::DOUBLE", f64::INFINITY),
        ("'-infinity'::FLOAT", f64::NEG_INFINITY),
        ("0.1::FLOAT", f64::from(0.1_f32)),
        ("1.25", 1.25),
        ("'-0.01'::DECIMAL(4, 2)", -0.01),
        ("'12345678.9'::DECIMAL(18, 1)", 12_345_678.9),
        ("'0.0000000001'::DECIMAL(38, 10)", 1e-10),
    ] {
        let [Value::Float(found)] = values(&format!("SELECT {sql}"))[..] else {
            panic!("{sql} is a number");
        };
        assert_eq!(found.to_bits(), expected.to_bits(), "{sql}: {found}");
    }
    assert!(matches!(values("SELECT 'nan'::DOUBLE")[..], [Value::Float(number)] if number.is_nan()));
}

#[test]
fn text_ids_and_dates_come_as_they_are_stored() {
    let long = "é".repeat(100_000);
    assert_eq!(
        values(&format!("SELECT '', 'it''s 🦀', 'a' || chr(0) || 'b', '{long}'")),
        [text(""), text("it's 🦀"), text("a\0b"), text(&long)]
    );
    assert_eq!(
        values(r#"SELECT '{"b":1.50, "a":[]}'::JSON, '00000000-0000-0000-0000-000000000000'"#),
        [
            text(r#"{"b":1.50, "a":[]}"#),
            text("00000000-0000-0000-0000-000000000000")
        ],
        "text that looks like an id stays text"
    );
    for id in [Uuid::nil(), Uuid::max(), Uuid::from_u128(1 << 127)] {
        assert_eq!(values(&format!("SELECT '{id}'::UUID")), [Value::Id(id)]);
    }
    assert_eq!(
        values("SELECT DATE '0001-01-01', DATE '1969-12-31', DATE '9999-12-31', true, false"),
        [
            text("0001-01-01"),
            text("1969-12-31"),
            text("9999-12-31"),
            Value::Bool(true),
            Value::Bool(false)
        ]
    );
    assert!(refusal("SELECT 'infinity'::DATE AS day").contains("\"day\" of the answer holds no date of the calendar"));
}

#[test]
fn instants_come_within_the_years_of_the_calendar() {
    assert_eq!(
        values(
            "SELECT TIMESTAMP '0001-01-01', TIMESTAMP '1969-12-31 23:59:59.999999', TIMESTAMP '9999-12-30 22:00:00'"
        ),
        [
            Value::Instant(Timestamp::MIN),
            instant("1969-12-31T23:59:59.999999Z"),
            Value::Instant(Timestamp::MAX)
        ]
    );
    assert_eq!(
        values("SELECT '2026-01-15 12:00:00+02'::TIMESTAMPTZ"),
        [instant("2026-01-15T10:00:00Z")]
    );
    for beyond in [
        "TIMESTAMP '9999-12-30 22:00:00.000001'",
        "TIMESTAMP '0001-01-01' - INTERVAL 1 MICROSECOND",
        "'infinity'::TIMESTAMP",
        "'-infinity'::TIMESTAMP",
    ] {
        assert_eq!(
            refusal(&format!("SELECT {beyond} AS moment")),
            "column \"moment\" of the answer holds an instant outside years 1 to 9999",
            "{beyond}"
        );
    }
}

#[test]
fn types_without_a_value_are_refused_with_what_to_do() {
    for value in [
        "INTERVAL 1 DAY",
        "TIME '12:00'",
        "TIMESTAMP_S '2026-01-15'",
        "TIMESTAMP_MS '2026-01-15'",
        "TIMESTAMP_NS '2026-01-15'",
        "'a'::BLOB",
        "[1, 2]",
        "{'a': 1}",
        "MAP {'a': 1}",
        "'a'::ENUM ('a', 'b')",
        "'12:00:00+02'::TIMETZ",
        // Would come as -1.
        "'340282366920938463463374607431768211455'::UHUGEINT",
    ] {
        // Whether the column holds anything or not.
        for condition in ["true", "false"] {
            let sql = format!("SELECT CASE WHEN {condition} THEN {value} END AS odd");
            let message = refusal(&sql);
            assert!(
                message.starts_with("column \"odd\" of the answer is of type ") && message.ends_with("; cast it"),
                "{sql}: {message}"
            );
        }
    }
}

#[test]
fn every_type_may_be_null_between_values() {
    for (value, expected) in [
        ("true", Value::Bool(true)),
        ("1::TINYINT", Value::Integer(1)),
        ("1::BIGINT", Value::Integer(1)),
        ("1::UBIGINT", Value::Integer(1)),
        ("1::HUGEINT", Value::Integer(1)),
        ("0.5::DOUBLE", Value::Float(0.5)),
        ("0.5", Value::Float(0.5)),
        ("'x'", text("x")),
        ("DATE '2026-01-15'", text("2026-01-15")),
        ("TIMESTAMP '2026-01-15'", instant("2026-01-15T00:00:00Z")),
        (
            "'00000000-0000-0000-0000-000000000001'::UUID",
            Value::Id(Uuid::from_u128(1)),
        ),
    ] {
        let sql = format!("SELECT CASE WHEN number % 2 = 0 THEN {value} END FROM range(3) AS numbers (number)");
        let rows = ask(&sql, &[]).unwrap().rows;
        assert_eq!(rows, [[expected.clone()], [Value::Null], [expected]], "{value}");
    }
    assert_eq!(values("SELECT NULL"), [Value::Null]);
}

#[test]
fn bound_values_come_back_as_they_went_in() {
    for value in [
        Value::Null,
        Value::Bool(true),
        Value::Bool(false),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Float(f64::MIN_POSITIVE),
        Value::Float(f64::NEG_INFINITY),
        text(""),
        text("'; DROP TABLE events; -- $1 \u{1f980}"),
        Value::Instant(Timestamp::MIN),
        Value::Instant(Timestamp::MAX),
        Value::Instant(Timestamp::default()),
    ] {
        let rows = ask("SELECT $1 AS value", std::slice::from_ref(&value)).unwrap();
        assert_eq!((rows.columns, rows.rows), (vec!["value".to_owned()], vec![vec![value]]));
    }
    let id = Value::Id(Uuid::from_u128(7 << 64));
    let rows = ask("SELECT gen_random_uuid() = $1, $1::UUID", std::slice::from_ref(&id)).unwrap();
    assert_eq!(rows.rows, [[Value::Bool(false), id]], "compared as an id, not as text");
}

#[test]
fn answers_of_many_chunks_come_whole_and_in_order() {
    const ROWS: i64 = 10_000;
    let sql = format!(
        "SELECT number, CASE WHEN number % 3 = 0 THEN 'row ' || number END FROM range({ROWS}) AS numbers (number) ORDER BY number"
    );
    let rows = ask(&sql, &[]).unwrap().rows;
    assert_eq!(rows.len() as i64, ROWS);
    for (number, row) in (0..).zip(rows) {
        let expected = if number % 3 == 0 {
            text(&format!("row {number}"))
        } else {
            Value::Null
        };
        assert_eq!(row, [Value::Integer(number), expected]);
    }
}

#[test]
fn an_answer_is_as_large_as_its_text_and_its_values() {
    // 24 rows of 8 MiB are exactly the limit, to which every row and value adds a little.
    let text_bytes = limits::QUERY_ANSWER_BYTES_MAX / 24;
    let sql = |rows: usize| format!("SELECT repeat('x', {text_bytes}) AS wide FROM range({rows})");
    assert_eq!(ask(&sql(23), &[]).unwrap().rows.len(), 23);
    let message = refusal(&sql(24));
    assert!(
        message.contains("192 MiB") && message.contains("fewer rows"),
        "{message}"
    );
    let columns = repeat_n("NULL", 1_000).collect::<Vec<_>>().join(", ");
    let rows = limits::QUERY_ANSWER_BYTES_MAX / (1_000 * size_of::<Value>()) + 1;
    let message = refusal(&format!("SELECT {columns} FROM range({rows})"));
    assert!(
        message.contains("192 MiB"),
        "values without text take room too: {message}"
    );
}
