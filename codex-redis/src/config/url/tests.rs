use std::path::Path;

use codex_traits::ErrorKind;

use super::*;

fn host_of<'a>(parsed: &'a Parsed<'_>) -> (&'a str, u16) {
    match &parsed.target {
        Target::One(Address::Tcp { host, port }) => (host, *port),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_parts_of_a_tcp_url_are_read() {
    for (url, host, port, database, tls) in [
        ("redis://localhost", "localhost", 6379, None, false),
        ("redis://localhost/", "localhost", 6379, None, false),
        (
            "REDIS://cache-1.internal:7000/12",
            "cache-1.internal",
            7000,
            Some(12),
            false,
        ),
        ("Rediss://my_cache/1", "my_cache", 6379, Some(1), true),
        ("valkey://localhost:6380/2", "localhost", 6380, Some(2), false),
        ("ValKeys://localhost", "localhost", 6379, None, true),
        ("redis://10.0.0.1:65535/0", "10.0.0.1", 65535, Some(0), false),
        ("redis://[::1]", "::1", 6379, None, false),
        ("redis://[2001:db8::1]:7000/3", "2001:db8::1", 7000, Some(3), false),
        ("redis://[::ffff:10.0.0.1]:7000", "::ffff:10.0.0.1", 7000, None, false),
        ("redis://[fe80::1%25eth0]:7000", "fe80::1%eth0", 7000, None, false),
        ("redis://[fe80::1%eth0]", "fe80::1%eth0", 6379, None, false),
        ("redis://:@127.0.0.1/0", "127.0.0.1", 6379, Some(0), false),
        ("redis://@127.0.0.1/0", "127.0.0.1", 6379, Some(0), false),
        ("valkeys://:@[::1]:7000", "::1", 7000, None, true),
    ] {
        let parsed = parse(url).unwrap();
        assert_eq!(
            (host_of(&parsed), parsed.database, parsed.tls),
            ((host, port), database, tls),
            "{url}"
        );
        assert!(parsed.login.is_none(), "{url}");
    }
}

#[test]
fn the_parts_of_a_sentinel_url_are_read() {
    for (url, expected, name, database, tls) in [
        ("redis-sentinel://a/main", "[a:26379]", "main", None, false),
        (
            "redis-sentinel://app:secret@a:1,b,[::1]:3/my%20shop/7",
            "[a:1, b:26379, [::1]:3]",
            "my shop",
            Some(7),
            false,
        ),
        (
            "rediss-sentinel://a,b/main/0",
            "[a:26379, b:26379]",
            "main",
            Some(0),
            true,
        ),
        ("VALKEY-sentinel://a/at%40/0", "[a:26379]", "at@", Some(0), false),
        (
            "valkeys-sentinel://:@a/main?client_name=a@b",
            "[a:26379]",
            "main",
            None,
            true,
        ),
    ] {
        let parsed = parse(url).unwrap();
        let Target::Sentinel { sentinels, name: found } = &parsed.target else {
            panic!("{parsed:?}")
        };
        assert_eq!((format!("{sentinels:?}").as_str(), found.as_str()), (expected, name));
        assert_eq!((parsed.database, parsed.tls), (database, tls));
    }
}

#[test]
fn the_parts_of_a_cluster_url_are_read() {
    for (url, expected, tls) in [
        ("redis-cluster://a", "[a:6379]", false),
        (
            "redis-cluster://app:secret@a:1,b,[::1]:3/0",
            "[a:1, b:6379, [::1]:3]",
            false,
        ),
        ("rediss-cluster://a,b/", "[a:6379, b:6379]", true),
        ("valkey-cluster://a?client_name=a@b", "[a:6379]", false),
        ("Valkeys-Cluster://:@a,b", "[a:6379, b:6379]", true),
    ] {
        let parsed = parse(url).unwrap();
        let Target::Cluster(nodes) = &parsed.target else {
            panic!("{parsed:?}")
        };
        assert_eq!((format!("{nodes:?}").as_str(), parsed.tls), (expected, tls));
    }
}

#[test]
fn a_login_is_percent_decoded() {
    for (url, user, password) in [
        ("redis://:secret@h", None, "secret"),
        ("redis://app:secret@h", Some("app"), "secret"),
        ("valkey://app:secret@[::1]:7000/0", Some("app"), "secret"),
        ("redis://app:@h", Some("app"), ""),
        ("redis://a%40b:p%3A%2F%25%20%C3%A9@h:1/2", Some("a@b"), "p:/% é"),
        ("redis://app:p+q@h", Some("app"), "p+q"),
        ("redis+unix://app:secret@/run/redis.sock?db=3", Some("app"), "secret"),
        ("unix://:p%40%2Fw@/run/a@/b.sock", None, "p@/w"),
        // Characters that should have been encoded.
        ("redis://app:p@ss:w/rd?#@h", Some("app"), "p@ss:w/rd?#"),
        ("redis://app:p/w@h:1/2", Some("app"), "p/w"),
        ("redis://app:12/34@h", Some("app"), "12/34"),
        ("redis://app:12?34@h", Some("app"), "12?34"),
        ("redis://:a?connections=9@h?connections=3", None, "a?connections=9"),
        ("redis-sentinel://app:12/34@h/main/1", Some("app"), "12/34"),
        ("redis-cluster://app:12/34@a,b/0", Some("app"), "12/34"),
    ] {
        let login = parse(url).unwrap().login.unwrap();
        assert_eq!(
            (login.user.as_deref(), login.password.as_str()),
            (user, password),
            "{url}"
        );
        assert!(!format!("{login:?}").contains("secret"));
    }
}

#[test]
fn an_at_sign_behind_the_host_belongs_to_the_settings() {
    for (url, host, login, query) in [
        ("redis://h?client_name=a@b", ("h", 6379), None, "client_name=a@b"),
        ("redis://h:7000?client_name=a@b", ("h", 7000), None, "client_name=a@b"),
        (
            "redis://h:7000/0?client_name=a@b&db=1",
            ("h", 7000),
            None,
            "client_name=a@b&db=1",
        ),
        (
            "redis://:s@h:7000/?client_name=@",
            ("h", 7000),
            Some("s"),
            "client_name=@",
        ),
        ("redis://u:p@ss@h/1?other=a@b", ("h", 6379), Some("p@ss"), "other=a@b"),
        (
            "rediss://:s@[::1]?tls_ca_file=/a@b/c",
            ("::1", 6379),
            Some("s"),
            "tls_ca_file=/a@b/c",
        ),
    ] {
        let parsed = parse(url).unwrap();
        assert_eq!(host_of(&parsed), host, "{url}");
        assert_eq!(parsed.query, query, "{url}");
        let password = parsed.login.as_ref().map(|login| login.password.as_str());
        assert_eq!(password, login, "{url}");
    }
    // A mistake before the `?` does not turn the text after it into a host.
    for url in [
        "redis://h:70000?client_name=a@b",
        "redis://h:70000?other=a@b",
        "redis://h:x?client_name=a@b",
        "redis://h:7000/x?client_name=a@b",
        "redis://user@h?client_name=a@b",
    ] {
        assert!(parse(url).is_err(), "{url}");
    }
}

#[test]
fn the_parts_of_a_unix_url_are_read() {
    for (url, path, query) in [
        ("redis+unix:///run/redis.sock", "/run/redis.sock", ""),
        ("redis+unix:///run/redis.sock?", "/run/redis.sock", ""),
        ("redis+unix:///run/redis.sock?db=7", "/run/redis.sock", "db=7"),
        ("unix:///tmp/r.sock?db=0", "/tmp/r.sock", "db=0"),
        ("UNIX:///tmp/r.sock", "/tmp/r.sock", ""),
        ("valkey+unix:///tmp/r.sock", "/tmp/r.sock", ""),
        ("redis-socket:///tmp/r.sock", "/tmp/r.sock", ""),
        ("redis+socket:///tmp/r.sock", "/tmp/r.sock", ""),
        (
            "unix:///tmp/with space/r s.sock?db=0",
            "/tmp/with space/r s.sock",
            "db=0",
        ),
        (
            "redis+unix:///run/with%20space%3F.sock?db=0",
            "/run/with space?.sock",
            "db=0",
        ),
        ("unix:///run/user@host/r@.sock", "/run/user@host/r@.sock", ""),
        (
            "unix:///run/a@/b.sock?client_name=c@/d",
            "/run/a@/b.sock",
            "client_name=c@/d",
        ),
        ("unix://app:pw@/run/a@b/r.sock?db=1", "/run/a@b/r.sock", "db=1"),
        ("unix://:@/run/r.sock", "/run/r.sock", ""),
        ("unix:///run/caf%C3%A9/50%25.sock", "/run/café/50%.sock", ""),
    ] {
        let parsed = parse(url).unwrap();
        assert!(
            matches!(&parsed.target, Target::One(Address::Unix(found)) if found == Path::new(path)),
            "{url}: {parsed:?}"
        );
        assert_eq!((parsed.query, parsed.database, parsed.tls), (query, None, false));
        assert_eq!(parsed.login.is_some(), url.contains("pw"), "{url}");
    }
}

#[test]
fn a_bad_url_is_told_what_was_expected_and_never_shown() {
    for (url, expected) in [
        ("", "must begin with redis://"),
        ("hunter2", "begin with redis://"),
        ("localhost:6379", "begin with redis://"),
        ("http://:hunter2@h", "must begin with"),
        ("redis+sentinel://:hunter2@h/main", "use redis-sentinel://"),
        ("REDIS+CLUSTER://h", "use redis-cluster://"),
        ("redis+tls://h", "use rediss://"),
        ("redis://", "must name a host"),
        ("redis:///3", "must name a host"),
        ("redis://:6379", "must name a host"),
        ("redis://:hunter2@", "must name a host"),
        ("redis://hunter2@h", "must have a password"),
        ("redis://h:", "port must be a number from 1 to 65535"),
        ("redis://h:0", "port must be a number from 1 to 65535"),
        ("redis://h:65536", "port must be a number from 1 to 65535"),
        ("redis://h:+1", "port must be a number from 1 to 65535"),
        ("redis://h:hunter2", "port must be a number from 1 to 65535"),
        ("redis://[::1", "must end with ]"),
        ("redis://[::1]6379", "port must be a number"),
        ("redis://[hunter2]", "must hold an IPv6 address"),
        ("redis://[fe80::1%]", "must hold an IPv6 address"),
        ("redis://[fe80::1%25]", "must hold an IPv6 address"),
        ("redis://[10.0.0.1]", "must hold an IPv6 address"),
        ("redis://::1", "IPv6 address in brackets"),
        ("redis://hunter2 x", "must be a name or an address"),
        ("redis://h/x", "database must be a number from 0"),
        ("redis://h/-1", "database must be a number from 0"),
        ("redis://h/+1", "database must be a number from 0"),
        ("redis://h/1/2", "database must be a number from 0"),
        ("redis://h/2147483648", "database must be a number from 0"),
        ("redis://h?x#hunter2", "# in the URL"),
        ("redis://h#insecure", "# in the URL"),
        ("redis-cluster://", "must name a host"),
        ("redis-cluster://a,", "must name a host"),
        ("redis-cluster://a,b:x", "port must be a number"),
        ("redis-cluster://a,b/1", "only database 0"),
        ("redis-sentinel://", "must name the primary"),
        ("redis-sentinel://a,b", "must name the primary"),
        ("redis-sentinel://a,b/", "must name the primary"),
        ("redis-sentinel://a,/main", "must name a host"),
        ("redis-sentinel:///main", "must name a host"),
        ("redis-sentinel://a:0/main", "port must be a number"),
        ("redis-sentinel://a/main/x", "database must be a number"),
        ("redis://:%ff@h", "must be UTF-8"),
        ("redis+unix://", "absolute path"),
        ("redis+unix://run/redis.sock", "absolute path"),
        ("redis+unix:///", "absolute path"),
        ("unix://hunter2@/run/redis.sock", "must have a password"),
    ] {
        let error = parse(url).unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::Config, "connect"),
            "{url}"
        );
        assert!(error.to_string().contains(expected), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
