//! Replies of the server, read by hand: the crate's own conversions quote in their errors what they could not convert.

use bytes::Bytes;
use codex_traits::{Error, Result, SetOutcome, Ttl, parse_integer};
use redis::Value;
use std::time::Duration;

use crate::wire::error::{refused, unexpected};

/// A reply that is no error.
pub(crate) fn accepted(operation: &'static str, reply: Value) -> Result<Value> {
    match reply {
        Value::ServerError(error) => Err(refused(operation, &error, true)),
        reply => Ok(reply),
    }
}

/// Replies none of which is an error.
pub(crate) fn all_accepted(operation: &'static str, replies: Vec<Value>) -> Result<Vec<Value>> {
    let refusal = replies.iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(error),
        _ => None,
    });
    if let Some(error) = refusal {
        let none_ran = replies.iter().all(|reply| matches!(reply, Value::ServerError(_)));
        return Err(refused(operation, error, none_ran));
    }
    Ok(replies)
}

pub(crate) fn bytes(operation: &'static str, reply: Value) -> Result<Option<Bytes>> {
    match accepted(operation, reply)? {
        Value::BulkString(bytes) => Ok(Some(bytes.into())),
        Value::Nil => Ok(None),
        _ => Err(unexpected(operation)),
    }
}

pub(crate) fn integer(operation: &'static str, reply: Value) -> Result<i64> {
    match accepted(operation, reply)? {
        Value::Int(integer) => Ok(integer),
        _ => Err(unexpected(operation)),
    }
}

pub(crate) fn count(operation: &'static str, reply: Value) -> Result<u64> {
    u64::try_from(integer(operation, reply)?).map_err(|_| unexpected(operation))
}

pub(crate) fn outcome(operation: &'static str, reply: Value) -> Result<SetOutcome> {
    match accepted(operation, reply)? {
        Value::Okay => Ok(SetOutcome::Written),
        Value::Nil => Ok(SetOutcome::Refused),
        _ => Err(unexpected(operation)),
    }
}

/// The answer to PTTL.
pub(crate) fn ttl(operation: &'static str, reply: Value) -> Result<Ttl> {
    match integer(operation, reply)? {
        -2 => Ok(Ttl::Missing),
        -1 => Ok(Ttl::Persistent),
        millis => {
            let millis = u64::try_from(millis).map_err(|_| unexpected(operation))?;
            // A key in its last millisecond is there, and has something left.
            Ok(Ttl::Remaining(Duration::from_millis(millis.max(1))))
        }
    }
}

/// A counter: an integer, or its text where a Lua number would have lost digits.
pub(crate) fn counter(operation: &'static str, reply: Value) -> Result<Option<i64>> {
    match accepted(operation, reply)? {
        Value::Int(integer) => Ok(Some(integer)),
        Value::BulkString(text) => parse_integer(&text).map(Some).ok_or_else(Error::not_an_integer),
        Value::Nil => Ok(None),
        _ => Err(unexpected(operation)),
    }
}

pub(crate) fn array(operation: &'static str, reply: Value) -> Result<Vec<Value>> {
    match accepted(operation, reply)? {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected(operation)),
    }
}

/// The answer to SCAN: the next cursor, and the keys that are UTF-8.
pub(crate) fn page(operation: &'static str, reply: Value) -> Result<(u64, Vec<String>)> {
    let mut parts = array(operation, reply)?.into_iter();
    let (Some(Value::BulkString(cursor)), Some(Value::Array(keys)), None) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(unexpected(operation));
    };
    let cursor = std::str::from_utf8(&cursor).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or_else(|| unexpected(operation))?;
    let mut texts = Vec::with_capacity(keys.len());
    for key in keys {
        let Value::BulkString(key) = key else {
            return Err(unexpected(operation));
        };
        // Written by another program, and no key of ours can name it.
        if let Ok(text) = String::from_utf8(key) {
            texts.push(text);
        }
    }
    Ok((cursor, texts))
}
