use serde_json::{Value, json};

use super::*;

const AGENT: &str = r#""-" "curl/8.5""#;

/// The event of a line, as its admin JSON.
fn event(line: &str) -> Value {
    let event = parse(line.as_bytes(), None).unwrap_or_else(|refusal| panic!("{line}: {}", refusal.reason));
    serde_json::to_value(event).unwrap()
}

fn reason(line: &str) -> String {
    match parse(line.as_bytes(), None) {
        Ok(event) => panic!("{line} was read as {event:?}"),
        Err(refusal) => refusal.reason,
    }
}

#[test]
fn a_combined_line_keeps_everything_it_says() {
    let line = r#"83.149.9.216 - frank [17/May/2015:10:05:03 +0200] "GET /a/b?x=1 HTTP/1.1" 200 203023 "http://semicomplete.com/p" "Mozilla/5.0 (Macintosh)""#;
    assert_eq!(
        event(line),
        json!({
            "event_name": "page_view",
            "event_source": "access-log",
            "properties": {
                "url": "/a/b?x=1",
                "method": "GET",
                "protocol": "HTTP/1.1",
                "status": 200,
                "bytes": 203_023,
                "referrer": "http://semicomplete.com/p",
                "auth_user": "frank",
            },
            "timestamp": "2015-05-17T08:05:03Z",
            "ip_address": "83.149.9.216",
            "user_agent": "Mozilla/5.0 (Macintosh)",
        })
    );
}

#[test]
fn odd_lines_are_read() {
    let cases: &[(&str, Value)] = &[
        // The common format, HTTP/0.9, no size.
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /x" 304 -"#,
            json!({"url": "/x", "method": "GET", "status": 304}),
        ),
        // IPv6, a user with a blank, quotes inside the agent, extra fields at the end.
        (
            r#"2001:db8::1 - Jane Doe [17/May/2015:10:05:03 +0000] "POST /x HTTP/2.0" 201 5 "-" "a \"b\" \\ c" "1.2.3.4" 0.003"#,
            json!({"url": "/x", "method": "POST", "protocol": "HTTP/2.0", "status": 201, "bytes": 5, "auth_user": "Jane Doe"}),
        ),
        // No request at all; TLS on a plain port; a target with blanks; a proxy request.
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "-" 408 - "-" "-""#,
            json!({"status": 408}),
        ),
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "\x16\x03\x01\x02" 400 226 "-" "-""#,
            json!({"request": "\u{16}\u{3}\u{1}\u{2}", "status": 400, "bytes": 226}),
        ),
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a b c HTTP/1.0" 404 7"#,
            json!({"url": "/a b c", "method": "GET", "protocol": "HTTP/1.0", "status": 404, "bytes": 7}),
        ),
        // A host name instead of an address.
        (
            r#"crawl.example.com - - [17/May/2015:10:05:03 +0000] "HEAD / HTTP/1.1" 200 0 "-" "-""#,
            json!({"url": "/", "method": "HEAD", "protocol": "HTTP/1.1", "status": 200, "bytes": 0, "host": "crawl.example.com"}),
        ),
    ];
    for (line, properties) in cases {
        let event = event(line);
        assert_eq!(event["properties"], *properties, "{line}");
        assert_eq!(event["timestamp"], "2015-05-17T10:05:03Z", "{line}");
    }
    let agent = |line: &str| event(line)["user_agent"].clone();
    assert_eq!(agent(cases[1].0), r#"a "b" \ c"#);
    assert_eq!(agent(cases[2].0), Value::Null);
    assert_eq!(event(cases[1].0)["ip_address"], "2001:db8::1");
    // Cut off inside the agent, as lines of a full disk are.
    let cut = r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "Mozilla/5.0 (compat"#;
    assert_eq!(agent(cut), "Mozilla/5.0 (compat");
    // Latin-1 bytes do not end the import.
    let event = parse(
        b"10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /caf\xe9 HTTP/1.1\" 200 5",
        None,
    )
    .unwrap();
    assert!(event.properties.0.get().contains("/caf\u{fffd}"));
    let event = parse(cut.as_bytes(), Some("example.com")).unwrap();
    assert!(event.properties.0.get().contains(r#""hostname":"example.com""#));
}

#[test]
fn the_site_before_the_visitor_is_no_visitor() {
    let rest = r#"- frank [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8.5""#;
    let cases = [
        ("example.com:80 1.2.3.4", Some("1.2.3.4"), Some("example.com"), None),
        (
            "example.com 2001:db8::1",
            Some("2001:db8::1"),
            Some("example.com"),
            None,
        ),
        ("10.0.0.1:8080 1.2.3.4", Some("1.2.3.4"), Some("10.0.0.1"), None),
        (
            "example.com:443 crawl.example.net",
            None,
            Some("example.com"),
            Some("crawl.example.net"),
        ),
        ("example.com:443 -", None, None, Some("example.com:443")),
        ("1.2.3.4", Some("1.2.3.4"), None, None),
        ("crawl.example.net", None, None, Some("crawl.example.net")),
        ("-", None, None, None),
    ];
    for (words, address, site, host) in cases {
        // The ident word is there too where a dash stood for the visitor.
        let event = event(&format!("{words} {rest}"));
        let properties = &event["properties"];
        assert_eq!(event["ip_address"].as_str(), address, "{words}");
        assert_eq!(properties["hostname"].as_str(), site, "{words}");
        assert_eq!(properties["host"].as_str(), host, "{words}");
        assert!(
            properties["auth_user"]
                .as_str()
                .is_some_and(|user| user.ends_with("frank")),
            "{words}"
        );
        assert_eq!(event["anonymous_id"].is_string(), host.is_some(), "{words}");
    }
    let line = format!("example.com:80 1.2.3.4 {rest}");
    let told = parse(line.as_bytes(), Some("www.example.com")).unwrap();
    assert!(told.properties.0.get().contains(r#""hostname":"www.example.com""#));
}

#[test]
fn a_host_with_its_agent_is_one_visitor() {
    let visitor = |host: &str, agent: &str| {
        let line = format!(r#"{host} - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "{agent}""#);
        event(&line)["anonymous_id"].clone()
    };
    let one = visitor("crawl.example.com", "a");
    // SHA-256 of "crawl.example.com|a" begins so: changing it splits every visitor in two.
    assert_eq!(one, "host_32f6096e70541122");
    assert_eq!(visitor("crawl.example.com", "a"), one);
    assert_ne!(visitor("crawl.example.com", "b"), one);
    assert_ne!(visitor("other.example.com", "a"), one);
    assert_eq!(visitor("1.2.3.4", "a"), Value::Null);
}

#[test]
fn lines_that_are_no_log_lines_say_why() {
    let cases = [
        ("hello", "the line has no time in brackets"),
        ("10.0.0.1 - - 17/May/2015", "the line has no time in brackets"),
        (
            "10.0.0.1 - - [17/May/2015:10:05:03 +0000",
            "the line has no time in brackets",
        ),
        (
            r#"10.0.0.1 - - [2015-05-17T10:05:03] "GET / HTTP/1.1" 200 5"#,
            "the time is not like 17/May/2015:10:05:03 +0000",
        ),
        (
            r#"10.0.0.1 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5"#,
            "the time is not like 17/May/2015:10:05:03 +0000",
        ),
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] GET / 200"#,
            "the request is not in quotes",
        ),
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /"#,
            "the request is not in quotes",
        ),
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /" abc 5"#,
            "the status is no number of three digits",
        ),
        (
            r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /" 20 5"#,
            "the status is no number of three digits",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(reason(line), expected, "{line}");
    }
}

#[test]
fn times_of_every_offset_and_leap_seconds() {
    let cases = [
        ("01/Jan/2016:00:00:00 +0000", Some("2016-01-01T00:00:00Z")),
        ("01/Jan/2016:00:30:00 +0530", Some("2015-12-31T19:00:00Z")),
        ("31/Dec/2015:20:00:00 -0800", Some("2016-01-01T04:00:00Z")),
        ("31/Dec/2016:23:59:60 +0000", Some("2016-12-31T23:59:59Z")),
        ("29/Feb/2016:12:00:00 +0000", Some("2016-02-29T12:00:00Z")),
        ("31/Dec/2016:23:59:61 +0000", None),
        ("01/jan/2016:00:00:00 +0000", None),
        ("01/Jan/2016:00:00:00", None),
        ("01/Jan/2016:00:00:00 +00", None),
        ("01/Jan/2016:00:00:00:00 +0000", None),
    ];
    for (text, expected) in cases {
        assert_eq!(read_time(text.as_bytes()).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_page_view_is_a_page_that_was_got() {
    let line = |request: &str, status: u16| {
        format!(r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "{request}" {status} 5 {AGENT}"#)
    };
    let views = [
        ("GET / HTTP/1.1", 200),
        ("GET /blog HTTP/1.1", 304),
        ("GET /blog/post.html?ref=x.css HTTP/1.1", 206),
        ("GET /v1.2/ HTTP/1.1", 200),
        ("GET http://example.com HTTP/1.1", 200),
        ("GET /misc/notes.txt HTTP/1.1", 200),
    ];
    for (request, status) in views {
        assert_eq!(event(&line(request, status))["event_name"], "page_view", "{request}");
    }
    let others = [
        ("GET / HTTP/1.1", 404),
        ("GET / HTTP/1.1", 301),
        ("HEAD / HTTP/1.1", 200),
        ("POST / HTTP/1.1", 200),
        ("GET /style.CSS?v=3 HTTP/1.1", 200),
        ("GET /favicon.ico HTTP/1.1", 200),
        ("GET /blog/robots.txt HTTP/1.1", 200),
        ("GET /feed.atom HTTP/1.1", 200),
        ("GET /slides.pdf#page=3 HTTP/1.1", 200),
        ("GET http://example.com/a.png HTTP/1.1", 200),
        ("-", 200),
    ];
    for (request, status) in others {
        assert_eq!(
            event(&line(request, status))["event_name"],
            "request",
            "{request} {status}"
        );
    }
    let mut extensions = request::ASSET_EXTENSIONS.to_vec();
    extensions.sort_unstable();
    extensions.dedup();
    assert_eq!(
        extensions.len(),
        request::ASSET_EXTENSIONS.len(),
        "an extension is listed twice"
    );
}

#[test]
fn identical_lines_are_kept_and_known_again() {
    let line = r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5"#;
    let ids = |text: String| {
        let mut records = LogRecords::new(std::io::Cursor::new(text), None);
        let mut ids = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            ids.push((record.line, record.outcome.map(|event| event.event_id)));
        }
        ids
    };
    let once = ids(format!("{line}\n\n{line}\nrubbish\n"));
    assert_eq!(once.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 4]);
    assert!(once[0].1 != once[1].1 && once[2].1.is_err());
    assert_eq!(ids(format!("{line}\r\n\r\n{line}\r\nrubbish")), once);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = parse(&bytes, None);
        let mut line = b"10.0.0.1 - - [17/May/2015:10:05:03 +0000] ".to_vec();
        line.extend_from_slice(&bytes);
        let _ = parse(&line, None);
    }

    #[test]
    fn whatever_a_server_escapes_comes_back(text in "[ -~äß\\\\\"\t]{0,40}") {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t");
        let line = format!(r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "{escaped}""#);
        let event = parse(line.as_bytes(), None).unwrap();
        proptest::prop_assert_eq!(event.user_agent, said(Some(text)));
    }
}
