use super::*;

/// Keys as `name=value` in a fixed order, absent ones left out.
fn keys(properties: &str) -> String {
    let keys = derived_keys(properties);
    let pairs = [
        ("path", keys.path),
        ("host", keys.hostname),
        ("ref", keys.referrer_host),
        ("source", keys.utm_source),
        ("medium", keys.utm_medium),
        ("campaign", keys.utm_campaign),
        ("term", keys.utm_term),
        ("content", keys.utm_content),
        ("agent", keys.browser.or(keys.os).or(keys.device).or(keys.country)),
    ];
    let told: Vec<_> = pairs
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .collect();
    told.join(" ")
}

#[test]
fn a_url_gives_path_host_and_campaign() {
    for (url, expected) in [
        ("https://example.com", "path=/ host=example.com"),
        ("https://example.com/", "path=/ host=example.com"),
        ("https://Example.COM:8443/A/b/", "path=/A/b host=example.com"),
        ("https://example.com/a//", "path=/a host=example.com"),
        ("https://example.com/a?b=/c/#/d", "path=/a host=example.com"),
        ("https://example.com?b#c", "path=/ host=example.com"),
        ("https://example.com#/a?utm_source=x", "path=/ host=example.com"),
        (
            "https://user:secret@www.example.com./a%20b",
            "path=/a%20b host=www.example.com",
        ),
        ("http://[2001:db8::1]:80/a", "path=/a host=2001:db8::1"),
        ("//example.com/a", "path=/a host=example.com"),
        ("/a/b/?c", "path=/a/b"),
        ("file:///C:/a.html", "path=/C:/a.html"),
        (" https://example.com/a ", "path=/a host=example.com"),
        ("about:blank", ""),
        ("a/b", ""),
        ("1http://example.com", ""),
        ("https://exa mple.com/a", "path=/a"),
        (
            "https://e.test/?utm_source=news%2Bletter&utm_medium=e+mail&utm_campaign=%C3%BCber&utm_term=a&utm_content=b#f",
            "path=/ host=e.test source=news+letter medium=e mail campaign=über term=a content=b",
        ),
        (
            "https://e.test/?utm_source=&utm_source=x&utm_source=y&utm_medium&UTM_TERM=z&utm_content=%20",
            "path=/ host=e.test source=x",
        ),
        (
            "https://e.test/?utm_source=a%00b%ff%",
            "path=/ host=e.test source=a\u{fffd}b\u{fffd}%",
        ),
    ] {
        assert_eq!(keys(&serde_json::json!({ "url": url }).to_string()), expected, "{url}");
    }
}

#[test]
fn each_documented_name_is_read() {
    for name in [
        "url",
        "page_url",
        "$current_url",
        "current_url",
        "page_location",
        "href",
    ] {
        assert_eq!(
            keys(&format!(r#"{{"{name}":"https://e.test/a"}}"#)),
            "path=/a host=e.test",
            "{name}"
        );
    }
    for name in ["path", "page_path", "$pathname", "pathname", "page"] {
        assert_eq!(keys(&format!(r#"{{"{name}":"/a/?b"}}"#)), "path=/a", "{name}");
        assert_eq!(
            keys(&format!(r#"{{"{name}":"https://e.test/a"}}"#)),
            "path=/a",
            "{name}"
        );
    }
    for name in ["hostname", "host", "$host"] {
        assert_eq!(keys(&format!(r#"{{"{name}":"E.test:80"}}"#)), "host=e.test", "{name}");
    }
    for name in ["referrer", "$referrer", "page_referrer", "referer"] {
        assert_eq!(
            keys(&format!(r#"{{"{name}":"https://r.test/x"}}"#)),
            "ref=r.test",
            "{name}"
        );
    }
    assert_eq!(
        keys(r#"{"utm_source":"a","utm_medium":"b","utm_campaign":" c ","utm_term":"d","utm_content":"e"}"#),
        "source=a medium=b campaign=c term=d content=e"
    );
}

#[test]
fn the_first_of_the_documented_names_counts_and_only_text() {
    for (properties, expected) in [
        (r#"{"href":"/h","page_url":"/p","url":"/u"}"#, "path=/u"),
        (r#"{"url":"/u","page_url":"/p"}"#, "path=/u"),
        (r#"{"url":" ","page_url":"/p"}"#, "path=/p"),
        (
            r#"{"url":7,"page_url":"/p","href":null,"referrer":{"url":["/x"]},"host":true,"utm_term":-1,"utm_content":1.5}"#,
            "path=/p",
        ),
        (
            r#"{"url":"https://e.test/u","path":"/x/","hostname":"h.test"}"#,
            "path=/x host=h.test",
        ),
        (r#"{"url":"https://e.test/u","page":"Pricing"}"#, "path=/u host=e.test"),
        (r#"{"page":"home"}"#, ""),
        (r#"{"path":"pricing/eu"}"#, "path=/pricing/eu"),
        (r#"{"path":"/","page":"/b"}"#, "path=/"),
        (
            r#"{"url":"https://e.test/?utm_source=url","utm_source":"own"}"#,
            "path=/ host=e.test source=own",
        ),
        (r#"{"path":"/a?utm_source=x"}"#, "path=/a source=x"),
        (r#"{"nested":{"url":"/n"}}"#, ""),
        (r#"{"\u0075rl":"\/a\u0062"}"#, "path=/ab"),
        ("{}", ""),
        ("[]", ""),
        ("", ""),
    ] {
        assert_eq!(keys(properties), expected, "{properties}");
    }
}

#[test]
fn a_referrer_is_a_host_other_than_the_pages_own() {
    for (referrer, expected) in [
        ("https://www.Google.com/search?q=a", "ref=google.com"),
        ("google.com", "ref=google.com"),
        ("news.example.org/a", "ref=news.example.org"),
        ("android-app://com.example.app/", "ref=com.example.app"),
        ("https://e.test/a", ""),
        ("https://WWW.e.test/a", ""),
        ("https://shop.e.test/a", "ref=shop.e.test"),
        ("$direct", ""),
        ("direct", ""),
        ("/a", ""),
        ("https://", ""),
    ] {
        let properties = serde_json::json!({ "url": "https://www.e.test/", "referrer": referrer }).to_string();
        let expected = format!("path=/ host=www.e.test {expected}");
        assert_eq!(keys(&properties), expected.trim_end(), "{referrer}");
    }
}

#[test]
fn keys_are_cut_at_a_character() {
    let long = "ü".repeat(limits::DERIVED_KEY_BYTES_MAX);
    let properties = serde_json::json!({
        "url": format!("https://{long}.test/{long}?utm_source={long}"),
        "referrer": format!("https://{long}.org"),
        "utm_term": long,
    });
    let keys = derived_keys(&properties.to_string());
    for (key, value) in [
        ("path", keys.path),
        ("hostname", keys.hostname),
        ("utm_source", keys.utm_source),
        ("utm_term", keys.utm_term),
    ] {
        let bytes = value.unwrap().len();
        assert!(
            (limits::DERIVED_KEY_BYTES_MAX - 1..=limits::DERIVED_KEY_BYTES_MAX).contains(&bytes),
            "{key}: {bytes}"
        );
    }
}
