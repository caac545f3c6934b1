//! Names that other clients and frameworks give to settings.
//!
//! They are refused, and the error names our setting. Accepting `socket_timeout=5` beside
//! `command_timeout=5s` would give a setting two units. Ignoring it would drop a deadline that the
//! user relies on.

use std::time::Duration;

use codex_traits::{Error, ErrorKind};

/// The advice for a setting of another client.
#[derive(Clone, Copy)]
enum Advice {
    /// Use this duration. Their value is in seconds if it has no unit.
    Seconds(&'static str),
    /// Use this duration. Their value is in milliseconds if it has no unit.
    Millis(&'static str),
    /// Use this number.
    Number(&'static str),
    /// Use this duration, with `off` or the given value.
    Switch(&'static str, &'static str),
    /// Use `resp`, with 2 or 3.
    Protocol,
    /// Advice in words.
    Text(&'static str),
}
use Advice::{Millis, Number, Protocol, Seconds, Switch, Text};

const LOGIN: Advice = Text("write `user:password@` before the host");
const PLACE: Advice = Text("write it before the `?`, as in `redis://host:port/database`");
const SOCKET: Advice = Text("write `redis+unix:///path/to/socket`");
const SENTINEL: Advice = Text("write `redis-sentinel://host1,host2/primary-name`");
const CLUSTER: Advice = Text("write `redis-cluster://host1,host2`");
const TLS: Advice = Text("use the scheme rediss://");
const VERIFIED: Advice = Text(
    "remove it, because certificates are always verified; tls_ca_file names an authority and tls_server_name a host",
);
const BYTES: Advice = Text("remove it, because values are bytes");
const RETRY: Advice = Text("remove it, because only safe calls are sent again, and errors say which calls to retry");
const POOLED: Advice = Text(
    "remove it, because any number of calls share a connection; connections=2 and max_in_flight=1024 are the defaults",
);
const CHECKED: Advice = Text("remove it, because broken connections are replaced; keepalive=30s is the default");
const CACHE: Advice = Text("remove it, because it is a setting of `Cache::builder()`, not of the connection");
const NEEDLESS: Advice = Text("remove it, because this client has no such setting");

/// Their names, each with the advice. The comparison ignores case, `_`, `-` and `.`.
const THEIRS: &[(&str, Advice)] = &[
    // redis-py, and Django's OPTIONS.
    ("socket_timeout", Seconds("command_timeout")),
    ("socket_connect_timeout", Seconds("connect_timeout")),
    ("timeout", Advice::Seconds("command_timeout")),
    ("socket_keepalive", Switch("keepalive", "30s")),
    ("socket_keepalive_options", Switch("keepalive", "30s")),
    ("socket_read_size", NEEDLESS),
    ("socket_type", NEEDLESS),
    ("retry", RETRY),
    ("retry_on_timeout", RETRY),
    ("retry_on_error", RETRY),
    ("max_connections", POOLED),
    ("health_check_interval", CHECKED),
    ("single_connection_client", Text("use connections=1")),
    ("credential_provider", Text("use `RedisBuilder::credentials`")),
    ("username", LOGIN),
    ("user", LOGIN),
    ("password", LOGIN),
    ("pass", LOGIN),
    ("auth", LOGIN),
    ("host", PLACE),
    ("port", PLACE),
    ("path", SOCKET),
    ("unix_socket_path", SOCKET),
    ("startup_nodes", CLUSTER),
    ("addr", CLUSTER),
    ("cluster_error_retry_attempts", RETRY),
    (
        "read_from_replicas",
        Text("remove it, because every call goes to the primary"),
    ),
    ("read_only", Text("remove it, because every call goes to the primary")),
    ("require_full_coverage", NEEDLESS),
    ("database", Number("db")),
    ("virtual_host", Number("db")),
    ("default_database", Number("db")),
    ("ssl", TLS),
    ("tls", TLS),
    ("use_ssl", TLS),
    ("use_tls", TLS),
    ("ssl_cert_reqs", VERIFIED),
    ("ssl_check_hostname", VERIFIED),
    ("skip_verify", VERIFIED),
    ("insecure", VERIFIED),
    ("verify_peer", VERIFIED),
    ("reject_unauthorized", VERIFIED),
    ("ssl_ca_certs", Text("use tls_ca_file")),
    ("ssl_ca_path", Text("use tls_ca_file, with the path of one PEM file")),
    (
        "ssl_ca_data",
        Text("use tls_ca_file, or `RedisTls::certificate_authority`"),
    ),
    ("ssl_certfile", Text("use tls_cert_file")),
    ("ssl_keyfile", Text("use tls_key_file")),
    (
        "ssl_password",
        Text("use tls_key_file with a private key that is not encrypted"),
    ),
    ("ssl_host", Text("use tls_server_name")),
    ("protocol", Protocol),
    ("encoding", BYTES),
    ("encoding_errors", BYTES),
    ("decode_responses", BYTES),
    ("lib_name", NEEDLESS),
    ("lib_version", NEEDLESS),
    ("library_name", NEEDLESS),
    ("library_version", NEEDLESS),
    ("parser_class", NEEDLESS),
    ("connection_class", NEEDLESS),
    ("connection_pool_class", NEEDLESS),
    ("connection_pool_kwargs", NEEDLESS),
    ("client_class", NEEDLESS),
    ("redis_client_class", NEEDLESS),
    ("pool_class", NEEDLESS),
    (
        "ignore_exceptions",
        Text("remove it, because errors are values that the caller handles"),
    ),
    ("service_name", SENTINEL),
    ("sentinel_service_name", SENTINEL),
    ("master_name", SENTINEL),
    ("sentinel_master_id", SENTINEL),
    ("sentinels", SENTINEL),
    ("sentinel_kwargs", Text("use sentinel_username and sentinel_password")),
    ("key_prefix", CACHE),
    ("prefix", CACHE),
    ("key_function", CACHE),
    ("version", CACHE),
    ("serializer", CACHE),
    ("compressor", CACHE),
    ("max_entries", CACHE),
    ("cull_frequency", CACHE),
    // redis-rs, and its pools.
    ("response_timeout", Seconds("command_timeout")),
    ("connection_timeout", Seconds("connect_timeout")),
    ("number_of_retries", RETRY),
    ("min_delay", Millis("backoff_min")),
    ("max_delay", Millis("backoff_max")),
    ("exponent_base", NEEDLESS),
    ("concurrency_limit", Number("max_in_flight")),
    ("pool_size", POOLED),
    ("max_size", POOLED),
    ("min_idle", POOLED),
    ("wait_timeout", Seconds("command_timeout")),
    // go-redis.
    ("dial_timeout", Seconds("connect_timeout")),
    ("read_timeout", Seconds("command_timeout")),
    ("write_timeout", Seconds("command_timeout")),
    ("pool_timeout", Seconds("command_timeout")),
    ("idle_timeout", CHECKED),
    ("min_idle_conns", POOLED),
    ("max_idle_conns", POOLED),
    ("max_active_conns", POOLED),
    ("conn_max_idle_time", CHECKED),
    ("conn_max_lifetime", CHECKED),
    ("max_retries", RETRY),
    ("min_retry_backoff", Seconds("backoff_min")),
    ("max_retry_backoff", Seconds("backoff_max")),
    // ioredis, node-redis, Lettuce, Jedis, StackExchange.Redis, phpredis.
    ("command_timeout_ms", Millis("command_timeout")),
    ("connect_timeout_ms", Millis("connect_timeout")),
    ("sync_timeout", Millis("command_timeout")),
    ("async_timeout", Millis("command_timeout")),
    ("abort_connect", Text("use lazy=true to start without a server")),
    ("lazy_connect", Text("use lazy=true to start without a server")),
    ("connect_retry", RETRY),
    ("max_retries_per_request", RETRY),
    ("reconnect_attempts", RETRY),
    ("enable_ready_check", NEEDLESS),
    ("enable_offline_queue", Text("use max_waiting=0 to let no call wait")),
    ("connection_name", Text("use client_name")),
    ("name", Text("use client_name")),
    ("nat_map", Text("use `RedisBuilder::address_map`")),
    ("family", NEEDLESS),
    ("persistent", POOLED),
    ("retry_interval", Millis("backoff_min")),
    ("allow_username_in_uri", NEEDLESS),
    ("auto_resubscribe", NEEDLESS),
    ("auto_pipelining", NEEDLESS),
    ("enable_auto_pipelining", NEEDLESS),
    ("no_delay", NEEDLESS),
    ("role", Text("remove it, because every call goes to the primary")),
    ("read_from", Text("remove it, because every call goes to the primary")),
    ("scale_reads", Text("remove it, because every call goes to the primary")),
    ("retry_strategy", RETRY),
    ("cluster_retry_strategy", RETRY),
    ("sentinel_retry_strategy", RETRY),
    ("string_numbers", BYTES),
    // fred.
    (
        "node",
        Text("write every node before the path, separated by commas: `redis-cluster://host1,host2`"),
    ),
    ("default_command_timeout", Millis("command_timeout")),
    ("max_command_buffer_len", Number("max_in_flight")),
    ("blocking", NEEDLESS),
    ("fail_fast", Text("use lazy=true to start without a server")),
    // This client, before its settings had these names.
    ("slots", Number("connections")),
];

/// Returns whether another client has a setting of this name.
pub(super) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// Returns the error for a setting under another client's name, or under a name of `ours` in a
/// different case or with different separators.
///
/// The error shows the name from the table and never the given text, except a number that was
/// parsed from it.
pub(super) fn refused(name: &str, value: &str, ours: &[&'static str]) -> Option<Error> {
    let normal = normalized(name);
    let (theirs, advice) = match ours.iter().find(|own| normalized(own) == normal) {
        Some(own) if own.contains("timeout") || own.starts_with("backoff") || *own == "slow_command" => {
            (*own, Millis(own))
        }
        Some(own) => {
            let message = format!("settings are written in lower case with underscores: use {own}");
            return Some(Error::new(ErrorKind::Config, "connect", message));
        }
        None => find(name)?,
    };
    let advice = match advice {
        Text(advice) => advice.to_owned(),
        Seconds(own) => format!("use {own}={}", duration(value, 1000.0)),
        Millis(own) => format!("use {own}={}", duration(value, 1.0)),
        Number(own) => match value.parse::<u32>() {
            Ok(number) => format!("use {own}={number}"),
            Err(_) => format!("use {own}"),
        },
        Switch(own, on) => match value.to_ascii_lowercase().as_str() {
            "0" | "false" | "no" | "off" => format!("use {own}=off"),
            _ => format!("use {own}={on}"),
        },
        Protocol => match value.trim_start_matches("resp") {
            "2" => "use resp=2".to_owned(),
            _ => "use resp=3".to_owned(),
        },
    };
    let message = if theirs == "timeout" {
        format!(
            "timeout is not a setting of a connection: {advice} for calls, or `default_timeout` of `Cache::builder()`"
        )
    } else if ours.contains(&theirs) {
        format!("settings are written in lower case with underscores: {advice}")
    } else {
        format!("{theirs} is not a setting here: {advice}")
    };
    Some(Error::new(ErrorKind::Config, "connect", message))
}

fn find(name: &str) -> Option<(&'static str, Advice)> {
    let normal = normalized(name);
    THEIRS.iter().find(|(theirs, _)| normalized(theirs) == normal).copied()
}

fn normalized(name: &str) -> String {
    let letters = name.chars().filter(|letter| !"_-.".contains(*letter));
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Converts a value of another client to our form. A value without a unit is in units of `unit`
/// milliseconds. Returns an example if the value cannot be parsed.
fn duration(value: &str, unit: f64) -> String {
    let (number, unit) = match value.find(|letter: char| letter.is_ascii_alphabetic()) {
        None => (value, Some(unit)),
        Some(at) => {
            let unit = match value[at..].to_ascii_lowercase().as_str() {
                "ms" => Some(1.0),
                "s" | "sec" | "secs" => Some(1000.0),
                "m" | "min" => Some(60_000.0),
                "h" => Some(3_600_000.0),
                _ => None,
            };
            (&value[..at], unit)
        }
    };
    let longest = Duration::from_secs(24 * 3600).as_secs_f64();
    let seconds = number
        .parse::<f64>()
        .ok()
        .zip(unit)
        .map(|(number, unit)| number * unit / 1000.0);
    match seconds.filter(|seconds| (0.001..=longest).contains(seconds)) {
        None => "500ms".to_owned(),
        Some(seconds) => {
            let millis = Duration::from_secs_f64(seconds).as_millis();
            if millis.is_multiple_of(1000) {
                format!("{}s", millis / 1000)
            } else {
                format!("{millis}ms")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 4] = ["db", "command_timeout", "client_name", "backoff_min"];

    #[test]
    fn a_setting_of_another_client_is_refused_with_ours_beside_it() {
        for (name, value, expected) in [
            ("socket_timeout", "5", "use command_timeout=5s"),
            ("socket_timeout", "0.25", "use command_timeout=250ms"),
            ("socket_timeout", "None", "use command_timeout=500ms"),
            ("socket_timeout", "hunter2", "use command_timeout=500ms"),
            ("SOCKET_TIMEOUT", "1.5", "use command_timeout=1500ms"),
            ("socketTimeout", "5", "use command_timeout=5s"),
            ("socket_timeout", "-1", "use command_timeout=500ms"),
            ("socket_timeout", "inf", "use command_timeout=500ms"),
            ("socket_timeout", "1e99", "use command_timeout=500ms"),
            ("socket_connect_timeout", "3", "use connect_timeout=3s"),
            ("SOCKET_CONNECT_TIMEOUT", "3", "use connect_timeout=3s"),
            ("timeout", "10s", "use command_timeout=10s"),
            ("timeout", "20", "default_timeout"),
            ("commandTimeout", "5000", "use command_timeout=5s"),
            ("command-timeout", "200ms", "use command_timeout=200ms"),
            ("Client_Name", "hunter2", "use client_name"),
            ("dial_timeout", "2m", "use connect_timeout=120s"),
            ("socket_keepalive", "True", "use keepalive=30s"),
            ("socket_keepalive", "False", "use keepalive=off"),
            ("max_connections", "50", "connections=2"),
            ("health_check_interval", "30", "keepalive=30s"),
            ("retry_on_timeout", "True", "remove it"),
            ("username", "hunter2", "user:password@"),
            ("password", "hunter2", "user:password@"),
            ("pass", "hunter2", "user:password@"),
            ("ssl_cert_reqs", "none", "tls_ca_file"),
            ("ssl_ca_certs", "/hunter2", "use tls_ca_file"),
            ("ssl_certfile", "/hunter2", "use tls_cert_file"),
            ("ssl_keyfile", "/hunter2", "use tls_key_file"),
            ("protocol", "3", "use resp=3"),
            ("protocol", "resp3", "use resp=3"),
            ("protocol", "2", "use resp=2"),
            ("virtual_host", "4", "use db=4"),
            ("database", "hunter2", "use db"),
            ("decode_responses", "True", "values are bytes"),
            ("service_name", "hunter2", "redis-sentinel://"),
            ("sentinelMasterId", "hunter2", "redis-sentinel://"),
            ("KEY_PREFIX", "hunter2", "Cache::builder()"),
            ("lazyConnect", "true", "lazy=true"),
            ("slots", "4", "use connections=4"),
            ("sentinelServiceName", "hunter2", "redis-sentinel://"),
            ("node", "hunter2:6379", "separated by commas"),
            ("keyPrefix", "hunter2", "Cache::builder()"),
            ("enableAutoPipelining", "true", "remove it"),
            ("allowUsernameInURI", "true", "remove it"),
            ("readFrom", "replica", "goes to the primary"),
            ("maxRetriesPerRequest", "3", "remove it"),
            ("verifyPeer", "NONE", "tls_ca_file"),
            ("sentinelMasterId", "hunter2", "redis-sentinel://"),
            ("libraryName", "hunter2", "remove it"),
        ] {
            let error = refused(name, value, &OURS).unwrap_or_else(|| panic!("{name} is not known"));
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{name}={value}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        assert!(refused("hunter2", "x", &OURS).is_none());
    }

    #[test]
    fn no_name_is_listed_twice() {
        for (at, (name, _)) in THEIRS.iter().enumerate() {
            let again = THEIRS[at + 1..]
                .iter()
                .any(|(other, _)| normalized(other) == normalized(name));
            assert!(!again, "{name}");
        }
    }
}
