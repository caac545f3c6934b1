//! The commands that test whether a server tracks keys, and the checks of its answers.

use redis::{ServerError, Value};

use crate::{
    connection::failure::{DialError, Reason},
    wire::{Command, Failure, error::server_error, reply::text},
};
use codex_traits::ErrorKind;

pub(super) const NOT_OPENED: &str = "the tracked connection was not opened within the connect timeout";
pub(super) const NO_PROOF: &str = "the server did not answer on the tracked connection within the command timeout";
const NO_CANARY_WRITE: &str =
    "the second connection to the server, which writes the canary key of the near cache, broke twice";
const LATE_CANARY_WRITE: &str = "the server did not answer the second connection, which writes the canary key of the near cache, within the \
                                 connect timeout";

/// Values that must stay the same on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// The server's id of the connection.
    id: i64,
    /// The epoch of the cluster's configuration.
    epoch: Option<u64>,
}

/// Returns the first questions on a connection.
pub(super) fn opening(is_cluster: bool) -> Vec<Command<'static>> {
    let mut questions = proof(is_cluster);
    questions.push(Command::new("CLIENT TRACKING").arg("ON"));
    questions.push(Command::read("CLIENT TRACKINGINFO"));
    questions
}

/// Returns the questions of a proof. PING does not suffice, because a demoted node answers it too.
pub(super) fn proof(is_cluster: bool) -> Vec<Command<'static>> {
    let mut questions = vec![Command::read("HELLO")];
    if is_cluster {
        questions.push(Command::read("CLUSTER INFO"));
    }
    questions
}

/// Checks the answers to the first questions.
pub(super) fn opened(replies: &[Value], is_cluster: bool) -> Result<Identity, DialError> {
    let [proof @ .., tracking, info] = replies else {
        return Err(unexpected());
    };
    let identity = identity(proof, is_cluster)?;
    check_version(&proof[0])?;
    if let Some(error) = server_error(tracking) {
        return Err(DialError::config(if is_forbidden(error) {
            "the near cache needs CLIENT TRACKING, which the server's user may not use: grant `+client|tracking`"
        } else {
            "the near cache needs CLIENT TRACKING, which the server, or the proxy before it, does not know: connect \
             to Redis 7.0, Valkey 8 or later directly"
        }));
    }
    match server_error(info) {
        Some(error) if is_forbidden(error) => Err(DialError::config(
            "the near cache needs CLIENT TRACKINGINFO, which the server's user may not use: grant \
             `+client|trackinginfo`",
        )),
        Some(_) => Err(DialError::config(
            "the near cache needs CLIENT TRACKINGINFO, which the server, or the proxy before it, does not know: \
             connect to Redis 7.0, Valkey 8 or later directly",
        )),
        None if is_on(info) => Ok(identity),
        None => Err(DialError::config(
            "the server, or the proxy before it, accepted CLIENT TRACKING ON and does not track in its default mode \
             (CLIENT TRACKINGINFO): connect to the server directly",
        )),
    }
}

/// Checks a proof.
pub(super) fn proven(replies: &[Value], is_cluster: bool, before: &Identity) -> Result<(), DialError> {
    if identity(replies, is_cluster)? == *before {
        Ok(())
    } else {
        Err(DialError::server(
            "the tracked connection leads to another server, or the cluster's configuration has changed",
        ))
    }
}

/// Checks the answer to a read of a cached key's time to live. Other errors than a missing right do
/// not concern the connection.
pub(super) fn readable(reply: Option<&Value>) -> Result<(), DialError> {
    match reply.and_then(server_error) {
        Some(error) if is_forbidden(error) => Err(DialError::server(
            "the server's user has lost the right to read a cached key",
        )),
        _ => Ok(()),
    }
}

/// Checks the answers to a read of the canary and of its time to live.
pub(super) fn canary_read(replies: &[Value]) -> Result<(), DialError> {
    let [value, left] = replies else {
        return Err(unexpected());
    };
    match (value, server_error(value)) {
        (Value::Nil | Value::BulkString(_), _) => {}
        (_, Some(error)) if is_forbidden(error) => {
            return Err(DialError::config(
                "the near cache reads a canary key, which the server's user may not: grant `+get` and the key pattern \
                 `~codex-kv:near:*`",
            ));
        }
        (_, Some(error)) => return Err(refused(error)),
        _ => return Err(unexpected()),
    }
    match (left, server_error(left)) {
        (Value::Int(_), _) => Ok(()),
        (_, Some(error)) if is_forbidden(error) => Err(DialError::config(
            "the near cache reads the time to live of each key that it caches, which the server's user may not: grant \
             `+pttl`",
        )),
        (_, Some(error)) => Err(refused(error)),
        _ => Err(unexpected()),
    }
}

/// Checks the answers to the transaction that writes the canary.
pub(super) fn canary_written(replies: &[Value]) -> Result<(), DialError> {
    match (replies.iter().find_map(server_error), replies.last()) {
        (Some(error), _) if is_forbidden(error) => Err(DialError::config(
            "the near cache writes a canary key, which the server's user may not: grant `+set +unlink +multi +exec` and \
             the key pattern `~codex-kv:near:*`",
        )),
        (Some(error), _) => Err(refused(error)),
        (None, Some(Value::Array(_))) => Ok(()),
        (None, _) => Err(unexpected()),
    }
}

/// Returns the error for a canary that was not written, because the request failed.
pub(super) fn canary_not_written(failure: &Failure) -> DialError {
    match failure.kind() {
        ErrorKind::Timeout => DialError::late(LATE_CANARY_WRITE),
        _ => DialError::unreachable(NO_CANARY_WRITE),
    }
}

/// Returns the error for a connection that was refused. The remedy `resp=2` fits only the other
/// connections, so a refusal of RESP3 is replaced.
pub(super) fn not_connected(error: DialError) -> DialError {
    match error.reason() {
        Reason::Resp3 => no_resp3(),
        Reason::Login | Reason::Other => error,
    }
}

fn no_resp3() -> DialError {
    DialError::config(
        "the near cache needs RESP3, and the server, or the proxy before it, refuses it (HELLO 3): connect to Redis \
         7.0, Valkey 8 or later directly, and grant `+hello` to the server's user",
    )
}

/// Returns the error for a canary that was written without a push.
pub(super) fn no_push() -> DialError {
    DialError::config(
        "a key was read and then written by another connection, and the server, or the proxy before it, pushed no \
         invalidation: the near cache would never learn of a change; connect to the server directly",
    )
}

/// Returns the error for a server that was emptied during each check of the canary.
pub(super) fn flushed_too_often() -> DialError {
    DialError::server("the server was emptied (FLUSHDB) during each of several checks of its invalidations; try again")
}

/// Returns the error for a node of a cluster that serves no slots.
pub(super) fn no_slots() -> DialError {
    DialError::server("the node of the cluster serves no slots")
}

/// Returns the error for a primary whose address has changed.
pub(super) fn moved() -> DialError {
    DialError::server("the tracked connection leads to another server than the primary that the Sentinels name")
}

/// Returns the failure of a proof without a connection.
pub(super) fn not_open() -> Failure {
    Failure::new(ErrorKind::Connection, "there is no tracked connection at the moment").not_executed()
}

/// Returns the failure of a proof that would wait for a large reply.
pub(super) fn busy() -> Failure {
    Failure::new(
        ErrorKind::Timeout,
        "the tracked connection is transferring a large value",
    )
    .not_executed()
}

/// A message that a server pushes.
pub(super) enum Push<'a> {
    /// These keys changed.
    Changed(&'a [Value]),
    /// All keys changed, or any key may have.
    Flushed,
    /// A message of another kind.
    Other,
}

pub(super) fn push(items: &[Value]) -> Push<'_> {
    match items {
        [kind, rest @ ..] if text(kind) == Some("invalidate") => match rest {
            [Value::Array(keys)] => Push::Changed(keys),
            _ => Push::Flushed,
        },
        [kind, ..] if text(kind).is_some_and(|kind| kind.starts_with("tracking-")) => Push::Flushed,
        _ => Push::Other,
    }
}

fn identity(replies: &[Value], is_cluster: bool) -> Result<Identity, DialError> {
    let (hello, info) = match (replies, is_cluster) {
        ([hello, info], true) => (hello, Some(info)),
        ([hello], false) => (hello, None),
        _ => return Err(unexpected()),
    };
    if let Some(error) = server_error(hello) {
        return Err(match error.code() {
            "NOPERM" => {
                DialError::config("the near cache needs HELLO, which the server's user may not use: grant `+hello`")
            }
            _ => refused(error),
        });
    }
    let (Some(Value::Int(id)), Some(Value::Int(3))) = (field(hello, "id"), field(hello, "proto")) else {
        return Err(no_resp3());
    };
    if field(hello, "role").and_then(text) != Some("master") {
        return Err(DialError::server(
            "the near cache needs a primary, and the server is a replica",
        ));
    }
    let epoch = info.map(epoch_of).transpose()?;
    Ok(Identity { id: *id, epoch })
}

/// Returns the configuration epoch in the answer to CLUSTER INFO. Fails if the cluster is down.
fn epoch_of(info: &Value) -> Result<u64, DialError> {
    if let Some(error) = server_error(info) {
        return Err(if is_forbidden(error) {
            DialError::config(
                "the near cache needs CLUSTER INFO, which the server's user may not use: grant `+cluster|info`",
            )
        } else {
            refused(error)
        });
    }
    let info = match info {
        Value::VerbatimString { text, .. } => text,
        other => text(other).ok_or_else(unexpected)?,
    };
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value.trim())
    };
    if field("cluster_state") != Some("ok") {
        return Err(DialError::server("the node reports that the cluster is down"));
    }
    let epoch = field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
    epoch.ok_or_else(unexpected)
}

/// Refuses servers that send pushes out of order, before or inside of earlier replies.
fn check_version(hello: &Value) -> Result<(), DialError> {
    let server = field(hello, "server").and_then(text).unwrap_or_default();
    let version = field(hello, "version").and_then(text).unwrap_or_default();
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    let least = match server {
        "redis" => 7,
        "valkey" => 8,
        // The canary detects other servers with this fault.
        _ => return Ok(()),
    };
    if major.is_some_and(|major| major >= least) {
        Ok(())
    } else {
        Err(DialError::config(
            "the near cache needs Redis 7.0, Valkey 8 or later: older servers send invalidations out of order",
        ))
    }
}

/// Returns whether `CLIENT TRACKINGINFO` reports that tracking is on, without any other flag.
fn is_on(info: &Value) -> bool {
    match field(info, "flags") {
        Some(Value::Array(flags) | Value::Set(flags)) => matches!(flags.as_slice(), [flag] if text(flag) == Some("on")),
        _ => false,
    }
}

fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    match map {
        Value::Map(pairs) => {
            let mut found = pairs.iter().filter(|(key, _)| text(key) == Some(name));
            found.next().map(|(_, value)| value)
        }
        Value::Array(items) => {
            let mut found = items.chunks_exact(2).filter(|pair| text(&pair[0]) == Some(name));
            found.next().map(|pair| &pair[1])
        }
        _ => None,
    }
}

fn is_forbidden(error: &ServerError) -> bool {
    error.code() == "NOPERM"
}

fn refused(error: &ServerError) -> DialError {
    DialError::server(match error.code() {
        "LOADING" => "the server is still loading its data (LOADING): try again later",
        "READONLY" => "the near cache needs a primary, and the server is a read-only replica (READONLY)",
        "OOM" => "the server is out of memory (OOM) and refuses the canary key of the near cache",
        "MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN" => "the cluster is being reconfigured: try again later",
        _ => "the server refused a check of the near cache's tracked connection",
    })
}

fn unexpected() -> DialError {
    DialError::server("the server's answer to a check of the near cache has an unexpected form")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_value(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn hello(server: &str, version: &str, id: i64, proto: i64, role: &str) -> Value {
        Value::Map(vec![
            (text_value("server"), text_value(server)),
            (text_value("version"), text_value(version)),
            (text_value("proto"), Value::Int(proto)),
            (text_value("id"), Value::Int(id)),
            (text_value("role"), text_value(role)),
        ])
    }

    fn info(flags: &[&str]) -> Value {
        let flags = flags.iter().map(|flag| text_value(flag)).collect();
        Value::Map(vec![(text_value("flags"), Value::Set(flags))])
    }

    #[test]
    fn only_a_refusal_of_resp3_is_replaced() {
        let error = DialError::unreachable("the server closed the connection: `resp=2` sends no HELLO");
        assert!(not_connected(error.clone()).message.contains("closed"));
        let replaced = not_connected(error.with_reason(Reason::Resp3));
        assert!(replaced.message.contains("needs RESP3"));
    }

    #[test]
    fn only_a_primary_of_a_version_that_orders_its_pushes_may_track() {
        let opened = |hello, flags: &[&str]| super::opened(&[hello, Value::Okay, info(flags)], false);
        for (server, version) in [
            ("redis", "7.0.0"),
            ("redis", "8.2.3"),
            ("valkey", "8.0.1"),
            ("other", "1"),
        ] {
            let opened = opened(hello(server, version, 4, 3, "master"), &["on"]);
            assert_eq!(opened.unwrap(), Identity { id: 4, epoch: None });
        }
        for (hello, flags, message) in [
            (hello("redis", "6.2.9", 4, 3, "master"), &["on"][..], "needs Redis 7.0"),
            (hello("valkey", "7.2.5", 4, 3, "master"), &["on"], "needs Redis 7.0"),
            (hello("redis", "7.0.0", 4, 2, "master"), &["on"], "needs RESP3"),
            (hello("redis", "7.0.0", 4, 3, "replica"), &["on"], "is a replica"),
            (hello("redis", "7.0.0", 4, 3, "master"), &["off"], "does not track"),
            (
                hello("redis", "7.0.0", 4, 3, "master"),
                &["on", "bcast"],
                "does not track",
            ),
        ] {
            let refused = opened(hello, flags).unwrap_err();
            assert!(refused.message.contains(message), "{}", refused.message);
        }
    }

    #[test]
    fn a_proof_is_of_the_same_connection_and_epoch() {
        let cluster = |state: &str, epoch: u64| {
            text_value(&format!("cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\n"))
        };
        let hello = |id| hello("redis", "7.0.0", id, 3, "master");
        let before = identity(&[hello(4), cluster("ok", 7)], true).unwrap();
        let proven = |id, state, epoch| proven(&[hello(id), cluster(state, epoch)], true, &before).is_ok();
        assert!(proven(4, "ok", 7));
        assert!(!proven(5, "ok", 7) && !proven(4, "ok", 8) && !proven(4, "fail", 7));
    }

    #[test]
    fn a_push_that_names_no_keys_is_about_all() {
        let keys = Value::Array(vec![text_value("k")]);
        assert!(matches!(push(&[text_value("invalidate"), keys]), Push::Changed([_])));
        assert!(matches!(push(&[text_value("invalidate"), Value::Nil]), Push::Flushed));
        assert!(matches!(push(&[text_value("tracking-redir-broken")]), Push::Flushed));
        assert!(matches!(push(&[text_value("message")]), Push::Other));
    }
}
