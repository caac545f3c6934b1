//! Conversions of replies to the results of verbs. A reply that the command cannot have is a
//! failure and never a guess.
//!
//! The conversions of the redis crate are not used, because their errors quote the reply.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{SetOutcome, Ttl, parse_integer};
use redis::{ServerError, Value};

use super::error::{Failure, refused, server_error};

type Result<T> = std::result::Result<T, Failure>;

/// The replies to one request.
#[derive(Debug)]
pub(crate) enum Replies {
    One(Value),
    Several(Vec<Value>),
}

impl Replies {
    /// Returns the reply to the only command.
    pub(crate) fn one(self) -> Result<Value> {
        match self {
            Self::One(value) => Ok(value),
            Self::Several(_) => Err(Failure::unexpected()),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Value> {
        match self {
            Self::One(value) => vec![value],
            Self::Several(values) => values,
        }
    }

    pub(crate) fn as_slice(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }

    /// Returns whether the server answered any command with an error.
    pub(crate) fn has_error(&self) -> bool {
        self.error().is_some()
    }

    /// Returns the first error.
    fn error(&self) -> Option<&ServerError> {
        self.as_slice().iter().find_map(server_error)
    }

    /// Returns the first error of a refused transaction, and whether none of its commands ran. The
    /// error of EXEC only says that there was an earlier error.
    pub(crate) fn refusal(&self) -> Option<(&ServerError, bool)> {
        let error = self.error()?;
        let replies = self.as_slice();
        // After a refused MULTI, for example for a user without `+multi`, each command runs by
        // itself.
        let is_open = replies.first().is_some_and(|reply| server_error(reply).is_none());
        let none_ran = is_open || replies.iter().all(|reply| server_error(reply).is_some());
        Some((error, none_ran))
    }

    /// Returns whether these replies to a transaction leave it open: the server accepted `MULTI`
    /// and refused `EXEC` without aborting the transaction.
    pub(crate) fn leave_it_open(&self) -> bool {
        let replies = self.as_slice();
        let refused = replies.last().and_then(server_error);
        refused.is_some_and(|error| error.code() != "EXECABORT")
            && replies.first().is_some_and(|reply| server_error(reply).is_none())
    }

    /// Returns the answers of `EXEC` in a transaction of `count` commands, one reply per command.
    pub(crate) fn executed(self, count: usize) -> Result<Vec<Value>> {
        if let Some((error, none_ran)) = self.refusal() {
            return Err(refused(error, none_ran));
        }
        match self.into_vec().pop() {
            Some(Value::Array(answers)) if answers.len() == count => Ok(answers),
            _ => Err(Failure::unexpected()),
        }
    }
}

/// Returns the reply, or the failure if it is an error.
pub(crate) fn accepted(reply: Value) -> Result<Value> {
    match reply {
        Value::ServerError(error) => Err(refused(&error, true)),
        reply => Ok(reply),
    }
}

/// Returns the replies, or the failure if any is an error.
pub(crate) fn all_accepted(replies: Vec<Value>) -> Result<Vec<Value>> {
    if let Some(error) = replies.iter().find_map(server_error) {
        let none_ran = replies.iter().all(|reply| server_error(reply).is_some());
        return Err(refused(error, none_ran));
    }
    Ok(replies)
}

/// Reads the answer to GET.
pub(crate) fn bytes(reply: Value) -> Result<Option<Bytes>> {
    match accepted(reply)? {
        Value::BulkString(bytes) => Ok(Some(bytes.into())),
        Value::Nil => Ok(None),
        _ => Err(Failure::unexpected()),
    }
}

/// Reads the answer to MGET of `count` keys.
pub(crate) fn values(reply: Value, count: usize) -> Result<Vec<Option<Bytes>>> {
    let items = array(reply)?;
    if items.len() != count {
        return Err(Failure::unexpected());
    }
    items.into_iter().map(bytes).collect()
}

pub(crate) fn integer(reply: Value) -> Result<i64> {
    match accepted(reply)? {
        Value::Int(integer) => Ok(integer),
        _ => Err(Failure::unexpected()),
    }
}

/// Reads the number of affected keys, at most `most`.
pub(crate) fn count(reply: Value, most: usize) -> Result<u64> {
    let count = u64::try_from(integer(reply)?).map_err(|_| Failure::unexpected())?;
    if count > most as u64 {
        return Err(Failure::impossible_count());
    }
    Ok(count)
}

/// Reads whether the only key of the command was affected.
pub(crate) fn flag(reply: Value) -> Result<bool> {
    Ok(count(reply, 1)? == 1)
}

/// Reads the answer to an unconditional SET.
pub(crate) fn written(reply: Value) -> Result<()> {
    match accepted(reply)? {
        Value::Okay => Ok(()),
        _ => Err(Failure::unexpected()),
    }
}

/// Reads the answer to a SET with a condition.
pub(crate) fn outcome(reply: Value) -> Result<SetOutcome> {
    match accepted(reply)? {
        Value::Okay => Ok(SetOutcome::Written),
        Value::Nil => Ok(SetOutcome::Refused),
        _ => Err(Failure::unexpected()),
    }
}

/// Reads the answer to PTTL.
pub(crate) fn ttl(reply: Value) -> Result<Ttl> {
    match integer(reply)? {
        -2 => Ok(Ttl::Missing),
        -1 => Ok(Ttl::Persistent),
        millis => {
            let millis = u64::try_from(millis).map_err(|_| Failure::unexpected())?;
            // A key in its last millisecond exists, so its time to live is not 0.
            Ok(Ttl::Remaining(Duration::from_millis(millis.max(1))))
        }
    }
}

/// Reads a value and its PTTL, read in one step.
pub(crate) fn value_and_ttl(answers: Vec<Value>) -> Result<Option<(Bytes, Ttl)>> {
    let Ok([value, left]) = <[Value; 2]>::try_from(answers) else {
        return Err(Failure::unexpected());
    };
    match (bytes(value)?, ttl(left)?) {
        (None, Ttl::Missing) => Ok(None),
        (Some(value), left @ (Ttl::Persistent | Ttl::Remaining(_))) => Ok(Some((value, left))),
        _ => Err(Failure::unexpected()),
    }
}

/// Reads a counter: an integer, or its text, because a Lua number would have lost digits.
pub(crate) fn counter(reply: Value) -> Result<i64> {
    match accepted(reply)? {
        Value::Int(integer) => Ok(integer),
        Value::BulkString(text) => parse_integer(&text).ok_or_else(Failure::not_an_integer),
        _ => Err(Failure::unexpected()),
    }
}

/// Reads a counter that is missing if the reply is nil.
pub(crate) fn optional_counter(reply: Value) -> Result<Option<i64>> {
    match accepted(reply)? {
        Value::Nil => Ok(None),
        reply => counter(reply).map(Some),
    }
}

pub(crate) fn array(reply: Value) -> Result<Vec<Value>> {
    match accepted(reply)? {
        Value::Array(items) => Ok(items),
        _ => Err(Failure::unexpected()),
    }
}

/// Reads the answer to SCAN with the cursor `asked`: the next cursor, and the keys that are UTF-8.
///
/// The next cursor must differ from `asked`, or the scan would never end. A server walks its table
/// in one direction, so only a faulty server repeats a cursor.
pub(crate) fn page(reply: Value, asked: u64) -> Result<(u64, Vec<String>)> {
    let mut parts = array(reply)?.into_iter();
    let (Some(Value::BulkString(cursor)), Some(Value::Array(keys)), None) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::unexpected());
    };
    let cursor = std::str::from_utf8(&cursor).ok().and_then(cursor_of);
    let cursor = cursor.ok_or_else(Failure::unexpected)?;
    if cursor == asked && cursor != 0 {
        return Err(Failure::endless_scan());
    }
    let mut texts = Vec::with_capacity(keys.len());
    for key in keys {
        let Value::BulkString(key) = key else {
            return Err(Failure::unexpected());
        };
        // Skip keys that are not UTF-8: another program wrote them, and a `&str` cannot name them.
        if let Ok(text) = String::from_utf8(key) {
            texts.push(text);
        }
    }
    Ok((cursor, texts))
}

/// Parses a cursor of Redis, in the only form that Redis writes.
pub(crate) fn cursor_of(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Returns a text in a reply.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use codex_traits::ErrorKind;

    use super::*;

    #[test]
    fn after_a_refused_multi_the_commands_may_have_run() {
        let reply = |line: &str| redis::parse_redis_value(line.as_bytes()).unwrap();
        let (refused, abort) = ("-NOPERM no\r\n", "-EXECABORT no\r\n");
        for (lines, may_have_executed) in [
            ([refused, ":1\r\n", "-ERR EXEC without MULTI\r\n"], true),
            ([refused, refused, "-ERR EXEC without MULTI\r\n"], false),
            (["+OK\r\n", refused, abort], false),
            (["+OK\r\n", "+QUEUED\r\n", "-NOPERM no\r\n"], false),
        ] {
            let replies = Replies::Several(lines.iter().map(|line| reply(line)).collect());
            let failure = replies.executed(1).unwrap_err();
            assert_eq!(failure.may_have_executed(), may_have_executed, "{lines:?}");
        }
    }

    #[test]
    fn answers_that_a_command_cannot_give_are_failures() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let page_of = |cursor: Value, keys: Value| page(Value::Array(vec![cursor, keys]), 7).map(drop);
        for (what, answer) in [
            ("count of more keys", count(Value::Int(1001), 1000).map(drop)),
            ("count of i64::MAX", count(Value::Int(i64::MAX), 1000).map(drop)),
            ("negative count", count(Value::Int(-1), 1000).map(drop)),
            ("flag of 2", flag(Value::Int(2)).map(drop)),
            ("SET without an answer", written(Value::Nil)),
            ("SET with a value", outcome(bulk("v")).map(drop)),
            ("PTTL of -3", ttl(Value::Int(-3)).map(drop)),
            ("no PTTL", ttl(Value::Nil).map(drop)),
            ("no counter", counter(Value::Nil).map(drop)),
            ("GET of a number", bytes(Value::Int(1)).map(drop)),
            ("MGET of fewer", values(Value::Array(vec![Value::Nil]), 2).map(drop)),
            ("MGET of more", values(Value::Array(vec![Value::Nil; 3]), 2).map(drop)),
            ("no MGET", values(Value::Nil, 2).map(drop)),
            (
                "value without TTL",
                value_and_ttl(vec![bulk("v"), Value::Int(-2)]).map(drop),
            ),
            (
                "TTL without value",
                value_and_ttl(vec![Value::Nil, Value::Int(-1)]).map(drop),
            ),
            ("cursor of text", page_of(bulk("x"), Value::Array(Vec::new()))),
            ("negative cursor", page_of(bulk("-1"), Value::Array(Vec::new()))),
            ("cursor with a sign", page_of(bulk("+5"), Value::Array(Vec::new()))),
            (
                "cursor with a zero before it",
                page_of(bulk("05"), Value::Array(Vec::new())),
            ),
            (
                "cursor that was asked for",
                page_of(bulk("7"), Value::Array(Vec::new())),
            ),
            ("no keys", page_of(bulk("0"), Value::Nil)),
            ("nil key", page_of(bulk("0"), Value::Array(vec![Value::Nil]))),
            (
                "EXEC of fewer",
                Replies::Several(vec![Value::Okay, Value::Array(Vec::new())])
                    .executed(1)
                    .map(drop),
            ),
            (
                "EXEC refused",
                Replies::Several(vec![Value::Okay, Value::Nil]).executed(1).map(drop),
            ),
        ] {
            let failure = answer.expect_err(what);
            assert_eq!(failure.kind(), ErrorKind::Server, "{what}");
        }
    }
}
