use super::*;

const PLAIN: Output = Output {
    json: false,
    colours: false,
};
const COLOURED: Output = Output {
    json: false,
    colours: true,
};

#[test]
fn numbers_read_well() {
    let cases = [
        (0, "0"),
        (999, "999"),
        (1_000, "1,000"),
        (12_345, "12,345"),
        (1_234_567, "1,234,567"),
    ];
    for (number, text) in cases {
        assert_eq!(grouped(number), text);
    }
    let cases = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3_565_158, "3.4 MiB"),
        (u64::MAX, "16777216.0 TiB"),
    ];
    for (bytes, text) in cases {
        assert_eq!(size(bytes), text);
    }
    let cases = [
        (0.42, "0.42 s"),
        (59.4, "59.40 s"),
        (59.999, "1 m 00 s"),
        (92.0, "1 m 32 s"),
        (7500.0, "2 h 05 m"),
    ];
    for (seconds, text) in cases {
        assert_eq!(duration(seconds), text);
    }
}

#[test]
fn a_table_lines_up_with_and_without_colours() {
    let head = [("name", Align::Left), ("events", Align::Right)];
    let rows = |output: Output| {
        vec![
            vec![output.good("ok"), "7".to_owned()],
            vec!["longer".to_owned(), "1,000".to_owned()],
        ]
    };
    assert_eq!(
        PLAIN.table(&head, &rows(PLAIN)),
        "name    events\nok           7\nlonger   1,000\n"
    );
    assert_eq!(
        COLOURED.table(&head, &rows(COLOURED)),
        "\u{1b}[1mname\u{1b}[0m    \u{1b}[1mevents\u{1b}[0m\n\u{1b}[32mok\u{1b}[0m           7\nlonger   1,000\n"
    );
}
