//! The commands of the verbs, and as Lua what Redis has no command for.
//!
//! A script is one step: nothing else runs in between, and time stands still. Each of these writes
//! at most once, so one that fails has changed nothing. They call by `pcall` and return what it
//! gave, so that an error keeps its code on servers before 7.0 too.
//!
//! A read-only replica refuses a script only once that writes. So a script that comes to no write
//! makes one that changes nothing: it unlinks a key that is missing, or sets one that exists if it
//! is absent.

use std::sync::LazyLock;

use bytes::Bytes;
use codex_traits::Expiry;
use redis::{Script, Value};

use crate::{
    connection::multiplexer::Deadline,
    observe,
    route::Router,
    wire::{Command, Failure, error::server_error},
};

/// The most keys of one UNLINK: other clients are served in between.
pub(crate) const KEYS_PER_UNLINK: usize = 1000;

/// Returns UNLINK of these keys, in as many commands as it takes.
pub(crate) fn unlink<'a, K: AsRef<[u8]> + 'a>(keys: &'a [K]) -> Vec<Command<'a>> {
    let chunks = keys.chunks(KEYS_PER_UNLINK);
    chunks.map(|chunk| Command::new("UNLINK").args(chunk)).collect()
}

/// Returns SET without a condition.
pub(crate) fn set<'a>(key: &'a str, value: &'a Bytes, expiry: &'a ExpiryArguments) -> Command<'a> {
    expiry.add_to(Command::new("SET").arg(key).arg(value))
}

/// The arguments of SET for an expiry.
pub(crate) struct ExpiryArguments {
    word: Option<&'static str>,
    millis: Option<i64>,
}

impl ExpiryArguments {
    /// Makes the arguments; `millis` is that of an `After`.
    pub(crate) fn new(expiry: Expiry, millis: Option<i64>) -> Self {
        let word = match expiry {
            Expiry::Never => None,
            Expiry::Keep => Some("KEEPTTL"),
            Expiry::After(_) => Some("PX"),
        };
        Self { word, millis }
    }

    pub(crate) fn add_to<'a>(&self, mut command: Command<'a>) -> Command<'a> {
        if let Some(word) = self.word {
            command = command.arg(word);
        }
        if let Some(millis) = self.millis {
            command = command.arg(millis);
        }
        command
    }
}

/// Sets `KEYS[1]` to `ARGV[2]` with the options `ARGV[3…]` if it holds `ARGV[1]`; nil if it does
/// not.
pub(crate) static SET_IF_EQUALS: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
if held == ARGV[1] then return redis.pcall('SET', KEYS[1], ARGV[2], unpack(ARGV, 3)) end
local probe
if held then probe = redis.pcall('SET', KEYS[1], '', 'NX') else probe = redis.pcall('UNLINK', KEYS[1]) end
if type(probe) == 'table' and probe.err and string.find(probe.err, 'READONLY', 1, true) then return probe end
return false",
    )
});

/// Removes `KEYS[1]` if it holds `ARGV[1]`; how many were removed.
pub(crate) static DEL_IF_EQUALS: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
if held == ARGV[1] or not held then return redis.pcall('UNLINK', KEYS[1]) end
local probe = redis.pcall('SET', KEYS[1], '', 'NX')
if type(probe) == 'table' and probe.err and string.find(probe.err, 'READONLY', 1, true) then return probe end
return 0",
    )
});

/// Clears the time to live of `KEYS[1]`; 1 if the key exists. PERSIST alone answers 0 also if there
/// was none to clear.
pub(crate) static PERSIST: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local cleared = redis.pcall('PERSIST', KEYS[1])
if cleared ~= 0 then return cleared end
return redis.pcall('EXISTS', KEYS[1])",
    )
});

/// Adds `ARGV[1]` to `KEYS[1]`. If it is missing: nil if `ARGV[2]` is empty, or else created to end
/// after that many milliseconds.
///
/// The sum is read as text: a Lua number has 53 bits.
pub(crate) static INCREMENT: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "if redis.call('EXISTS', KEYS[1]) == 0 then
  if ARGV[2] == '' then
    local probe = redis.pcall('UNLINK', KEYS[1])
    if type(probe) == 'table' then return probe end
    return false
  end
  local made = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  if made.err then return made end
  return ARGV[1]
end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' then return sum end
return redis.call('GET', KEYS[1])",
    )
});

/// The value of `KEYS[1]` and its PTTL.
pub(crate) static GET_WITH_TTL: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
return {held, redis.pcall('PTTL', KEYS[1])}",
    )
});

/// A script and its SHA-1, by which a server that has seen it knows it.
pub(crate) struct Lua {
    code: &'static str,
    hash: String,
}

impl Lua {
    fn new(code: &'static str) -> Self {
        Self {
            code,
            hash: Script::new(code).get_hash().to_owned(),
        }
    }

    /// Runs it on one key: by its hash, and once more with its text if the server does not know
    /// that. NOSCRIPT is an answer from before anything ran, so nothing runs twice. Both are within
    /// the deadline.
    pub(crate) async fn run<'a>(
        &'a self,
        router: &Router,
        deadline: Deadline,
        key: &'a str,
        arguments: impl Fn(Command<'a>) -> Command<'a> + Send + Sync,
    ) -> Result<Value, Failure> {
        let call = |verb, script: &'a str| arguments(Command::new(verb).arg(script).arg(1_u64).arg(key));
        let reply = router.command(deadline, key, &call("EVALSHA", &self.hash)).await?;
        match server_error(&reply) {
            Some(error) if error.code() == "NOSCRIPT" => {
                observe::sent_again(deadline.verb, "NOSCRIPT");
                Box::pin(router.command(deadline, key, &call("EVAL", self.code))).await
            }
            _ => Ok(reply),
        }
    }
}
