use super::*;

fn allows(entries: &[&str], origin: &str) -> bool {
    OriginRules::parse(entries).unwrap().allows(origin)
}

#[test]
fn an_exact_origin_allows_its_spellings_and_nothing_else() {
    let entries = [
        "https://Example.com",
        "http://localhost:3000",
        "https://shop.example.org:443/",
    ];
    for origin in [
        "https://example.com",
        "HTTPS://EXAMPLE.COM",
        "https://example.com:443",
        "http://localhost:3000",
        "https://shop.example.org",
    ] {
        assert!(allows(&entries, origin), "{origin}");
    }
    for origin in [
        "http://example.com",
        "https://example.com:8443",
        "https://www.example.com",
        "https://example.com.evil.test",
        "https://evil-example.com",
        "https://example.com@evil.test",
        "https://example.com/path",
        "https://example.com#",
        "https://example.com\\.evil.test",
        "http://localhost",
        "http://localhost:30001",
        "http://localhost:+3000",
        "example.com",
        "null",
        "*",
        "",
        "://",
        "https://",
    ] {
        assert!(!allows(&entries, origin), "{origin}");
    }
}

#[test]
fn a_wildcard_allows_subdomains_of_any_depth_but_not_the_host_itself() {
    let entries = ["https://*.Example.com", "http://*.dev.test:8080"];
    for origin in [
        "https://a.example.com",
        "https://a.b.c.example.com",
        "https://A.EXAMPLE.com:443",
        "http://x.dev.test:8080",
    ] {
        assert!(allows(&entries, origin), "{origin}");
    }
    for origin in [
        "https://example.com",
        "https://.example.com",
        "https://..example.com",
        "https://evilexample.com",
        "https://a.example.com.evil.test",
        "https://a.example.com:8443",
        "http://a.example.com",
        "http://x.dev.test",
        "https://evil.test/.example.com",
        "https://evil.test?.example.com",
        "null",
    ] {
        assert!(!allows(&entries, origin), "{origin}");
    }
}

#[test]
fn only_the_star_allows_everything_and_null() {
    for origin in ["https://anything.test", "null", "file://", "garbage"] {
        assert!(allows(&["https://example.com", " * "], origin), "{origin}");
    }
    assert!(!allows(&[], "https://example.com"));
    assert!(!allows(&["https://example.com"], "null"));
}

#[test]
fn addresses_apps_and_international_names_are_origins_too() {
    for (entry, origin) in [
        ("http://192.0.2.1:8000", "http://192.0.2.1:8000"),
        ("http://[2001:DB8::1]:8000", "http://[2001:db8::1]:8000"),
        ("http://[2001:db8:0::1]", "http://[2001:db8::1]:80"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://*.bücher.example", "https://a.xn--bcher-kva.example"),
    ] {
        assert!(allows(&[entry], origin), "{entry} {origin}");
    }
}

#[test]
fn every_bad_setting_is_told() {
    for (entry, problem) in [
        ("example.com", "it must begin with a scheme, as in https://example.com"),
        (
            "*.example.com",
            "it must begin with a scheme, as in https://example.com",
        ),
        ("null", "it must begin with a scheme, as in https://example.com"),
        ("", "it must begin with a scheme, as in https://example.com"),
        ("https://", "it has no host"),
        ("https://*.", "it has no host"),
        ("1http://example.com", "its scheme is not valid"),
        ("https://exa mple.com", "its host is not valid"),
        (
            "https://example.com/app",
            "it must be scheme, host and port only, without path or user",
        ),
        (
            "https://user@example.com",
            "it must be scheme, host and port only, without path or user",
        ),
        ("https://example.com:port", "its port is not valid"),
        ("https://example.com:", "its port is not valid"),
        ("https://example.com:99999", "its port is not valid"),
        (
            "https://*",
            "a * can only stand alone or for all subdomains, as in https://*.example.com",
        ),
        (
            "https://a.*.com",
            "a * can only stand alone or for all subdomains, as in https://*.example.com",
        ),
        (
            "https://*.*.com",
            "a * can only stand alone or for all subdomains, as in https://*.example.com",
        ),
    ] {
        let error = OriginRules::parse(&["https://good.example", entry]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("\"{entry}\" is no allowed origin: {problem}.")
        );
    }
    let error = OriginRules::parse(&["a", "*", "b"]).unwrap_err();
    assert_eq!(error.sentences.len(), 2);
}

#[test]
fn a_stored_entry_that_cannot_be_read_allows_nothing_and_spares_the_others() {
    let rules = OriginRules::from_stored(&["garbage", "https://example.com"]);
    assert!(rules.allows("https://example.com"));
    assert!(!rules.allows("garbage"));
}
