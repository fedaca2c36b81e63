use super::*;

fn matches(pattern: &str, url: &str) -> bool {
    pattern.parse::<UrlPattern>().unwrap().matches(&Url::parse(url).unwrap())
}

#[test]
fn an_allowed_url_is_compared_by_scheme_host_and_port() {
    for url in ["https://qstash.upstash.io", "https://qstash.upstash.io:443/", "HTTPS://QSTASH.Upstash.io"] {
        assert!(matches("https://qstash.upstash.io", url), "{url}");
    }
    let others = [
        "http://qstash.upstash.io",
        "https://qstash.upstash.io:8443",
        "https://qstash.upstash.io.evil.example",
        "https://evil-qstash.upstash.io",
        "https://qstash.upstash.io.",
        "https://upstash.io",
    ];
    for url in others {
        assert!(!matches("https://qstash.upstash.io", url), "{url}");
    }
    let pattern: UrlPattern = "https://qstash-*.upstash.io".parse().unwrap();
    assert_eq!(pattern.to_string(), "https://qstash-*.upstash.io");
    assert!(matches("http://127.0.0.1:8081", "http://2130706433:8081"));
    assert!(!matches("https://qstash.upstash.io", "https://127.0.0.1"));
}

#[test]
fn a_star_stands_for_a_part_of_one_label() {
    assert!(matches("https://qstash-*.upstash.io", "https://qstash-eu-central-1.upstash.io"));
    assert!(matches("https://*.upstash.io", "https://qstash.upstash.io"));
    for url in ["https://a.b.upstash.io", "https://upstash.io", "https://qstash.upstash.io.evil.example"] {
        assert!(!matches("https://*.upstash.io", url), "{url}");
    }
    assert!(!matches("https://qstash-*.upstash.io", "https://qstash-.upstash.io"));
}

#[test]
fn a_base_url_is_scheme_host_and_port() {
    for text in ["https://a.example", "http://127.0.0.1:8081/", "https://[::1]:9"] {
        assert!(base_url(text).is_ok(), "{text}");
    }
    let refused = [
        "ftp://a.example",
        "https://user@a.example",
        "https://@a.example",
        "https://a.example/path",
        "https://a.example?",
        "https://a.example#x",
        "https://a.example:0",
        "https://a.example:99999",
        "https://",
        "https:\\\\a.example\\x",
        "a.example",
    ];
    for text in refused {
        assert!(base_url(text).is_err(), "{text}");
    }
}

/// Where a token would go: the host of the URL that a policy names, if the operator takes it.
fn destination(allowed: &[&str], url: &str) -> Option<Host<String>> {
    let allowed: Vec<UrlPattern> = allowed.iter().map(|text| text.parse().unwrap()).collect();
    let url = base_url(url).ok().filter(|url| allowed.iter().any(|pattern| pattern.matches(url)))?;
    // As the client does: path and query are its own, host and port those of the URL.
    let mut called = url.clone();
    called.set_path("/v2/workflows/dlq");
    called.set_query(Some("count=50"));
    assert_eq!((called.host(), called.port_or_known_default()), (url.host(), url.port_or_known_default()));
    assert!(called.username().is_empty() && called.password().is_none());
    url.host().map(|host| host.to_owned())
}

#[test]
fn no_way_of_writing_another_address_gets_a_token() {
    const ALLOWED: [&str; 3] =
        ["https://qstash.upstash.io", "https://qstash-*.upstash.io", "http://127.0.0.1:8081"];
    let hostile = [
        // Look-alikes.
        "https://qstash.upstash.io.evil.example",
        "https://qstash.upstash.io.evil.example:443",
        "https://evil.example/qstash.upstash.io",
        "https://evil.example?qstash.upstash.io",
        "https://evil.example#qstash.upstash.io",
        "https://qstash.upstash.io%2eevil.example",
        "https://qstash.upstash.io%2f.evil.example",
        "https://qstash.upstash.io%00.evil.example",
        "https://qstash.upstash.io\u{3002}evil.example",
        "https://qstash\u{2024}upstash.io.evil.example",
        "https://xn--qstash-upstash.io",
        "https://q\u{455}tash.upstash.io",
        "https://qstash.upst\u{430}sh.io",
        "https://qstash-upstash.io",
        "https://qstash.upstash.io.",
        "https://qstash..upstash.io",
        "https://.qstash.upstash.io",
        "https://upstash.io",
        "https://qstash-a.b.upstash.io",
        "https://qstash-.upstash.io",
        "https://qstash-evil.example.upstash.io",
        "https://qstash-evil.example%2f.upstash.io",
        "https://qstash-a%2eevil.upstash.io",
        "https://a.qstash-b.upstash.io.evil.example",
        // Users.
        "https://qstash.upstash.io@evil.example",
        "https://qstash.upstash.io:443@evil.example",
        "https://evil.example@qstash.upstash.io",
        "https://user:pass@qstash.upstash.io",
        "https://:@qstash.upstash.io",
        "https://@qstash.upstash.io",
        "https://qstash.upstash.io%40evil.example",
        "https://evil.example\\@qstash.upstash.io",
        "https://qstash.upstash.io\\@evil.example",
        "https://qstash.upstash.io\\.evil.example",
        // Paths.
        "https://qstash.upstash.io/x",
        "https://qstash.upstash.io//evil.example",
        "https://qstash.upstash.io/..;/",
        "https://qstash.upstash.io/%2f",
        "https://qstash.upstash.io/%5cevil.example",
        "https://qstash.upstash.io/;",
        "https://qstash.upstash.io?",
        "https://qstash.upstash.io#",
        "https://qstash.upstash.io/?x=/",
        // Ports and schemes.
        "https://qstash.upstash.io:8443",
        "https://qstash.upstash.io:80",
        "https://qstash.upstash.io:0",
        "https://qstash.upstash.io:65536",
        "https://qstash.upstash.io:443:443",
        "http://qstash.upstash.io",
        "http://qstash.upstash.io:443",
        "ftp://qstash.upstash.io",
        "file://qstash.upstash.io",
        "javascript://qstash.upstash.io",
        "//qstash.upstash.io",
        "qstash.upstash.io",
        "http://127.0.0.1",
        "https://127.0.0.1:8081",
        "http://127.0.0.1:8082",
        // Other ways to write other addresses.
        "http://localhost:8081",
        "http://127.0.0.2:8081",
        "http://2130706434:8081",
        "http://0x7f000002:8081",
        "http://[::1]:8081",
        "http://[::ffff:127.0.0.1]:8081",
        "http://[::ffff:7f00:1]:8081",
        "http://[::127.0.0.1]:8081",
        "http://127.0.0.1.nip.io:8081",
        "http://127.0.0.1.:80",
        "http://0:8081",
        "http://127.0.0.256:8081",
        "",
        " ",
        "https://",
        "https:///",
        "https://*",
    ];
    for url in hostile {
        assert_eq!(destination(&ALLOWED, url), None, "{url:?}");
    }
}

#[test]
fn other_ways_to_write_an_allowed_address_go_there_and_nowhere_else() {
    let table = [
        ("https://qstash.upstash.io", "HTTPS://QSTASH.UPSTASH.IO:443/"),
        ("https://qstash.upstash.io", "https:qstash.upstash.io"),
        ("https://qstash.upstash.io", "https:////qstash.upstash.io"),
        ("https://qstash.upstash.io", "https://qstash%2eupstash.io"),
        ("https://qstash.upstash.io", "https://qstash\u{3002}upstash.io"),
        ("https://qstash.upstash.io", "https://qsta\u{17f}h.upstash.io"),
        // The parser drops these, and steps up in the path.
        ("https://qstash.upstash.io", " https://qstash.up\tstash.\nio/ "),
        ("https://qstash.upstash.io", "https://qstash.upstash.io/.."),
        ("https://qstash.upstash.io", "https://qstash.upstash.io/%2e%2e/"),
        ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
        ("http://127.0.0.1:8081", "http://2130706433:8081"),
        ("http://127.0.0.1:8081", "http://0x7f000001:8081"),
        ("http://127.0.0.1:8081", "http://0177.0.0.1:8081"),
        ("http://127.0.0.1:8081", "http://127.1:8081"),
        ("http://[::1]:8081", "http://[0:0:0:0:0:0:0:1]:8081"),
    ];
    for (allowed, url) in table {
        let own = Url::parse(allowed).unwrap().host().map(|host| host.to_owned());
        assert_eq!(destination(&[allowed], url), own, "{url:?}");
    }
}

#[test]
fn a_star_never_reaches_over_a_dot_nor_into_an_address() {
    let never = [
        ("https://*", "https://a.example"),
        ("https://*.example", "https://a.b.example"),
        ("https://*.example", "https://.example"),
        ("https://a*.example", "https://a.example"),
        ("https://*a.example", "https://a.example"),
        ("https://a*b.example", "https://ab.example"),
        ("https://ab*bc.example", "https://abc.example"),
        ("https://*.*.example", "https://a.example"),
        ("https://a**.example", "https://ab.example"),
        ("http://127.0.0.*", "http://127.0.0.1"),
        ("http://*.0.0.1", "http://127.0.0.1"),
        ("http://*", "http://[::1]"),
        ("https://*.example", "https://*.evil.example"),
        ("http://*.example", "https://a.example"),
        ("https://*.example:8443", "https://a.example"),
    ];
    for (pattern, url) in never {
        // A pattern that is refused as a flag allows nothing either.
        let allows =
            pattern.parse::<UrlPattern>().is_ok_and(|pattern| pattern.matches(&url.parse().unwrap()));
        assert!(!allows, "{pattern} allows {url}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that parsers of URLs disagree about, around an allowed host and another.
    fn url() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(
            [
                "https://",
                "http://",
                "https:",
                "//",
                "/",
                "\\",
                "@",
                ":",
                "443",
                "#",
                "?",
                "%2f",
                "%2e",
                "%40",
                "%00",
                ".",
                "..",
                ";",
                "*",
                "[",
                "]",
                "::1",
                "127.0.0.1",
                "0x7f.1",
                "qstash.upstash.io",
                "evil.example",
                "\t",
                " ",
                "\n",
                "\u{3002}",
                "\u{ff0f}",
                "\u{200d}",
                "xn--",
                "user",
                "\u{2100}",
                "-",
            ]
            .as_slice(),
        );
        prop_oneof![
            6 => (prop::sample::select(["https://", "https:", ""].as_slice()), prop::collection::vec(piece, 0..7))
                .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat())),
            1 => any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

        #[test]
        fn whatever_is_written_a_token_goes_to_the_allowed_host_or_nowhere(text in url()) {
            let allowed = Host::Domain("qstash.upstash.io".to_owned());
            if let Some(host) = destination(&["https://qstash.upstash.io"], &text) {
                prop_assert_eq!(host, allowed);
                let url = base_url(&text).unwrap();
                prop_assert_eq!(url.as_str(), "https://qstash.upstash.io/");
            }
        }

        #[test]
        fn flags_are_read_or_refused_and_shown_as_they_are_read_again(text in url()) {
            if let Ok(pattern) = text.parse::<UrlPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<UrlPattern>(), Ok(pattern));
            }
        }
    }
}
