//! The commands of the verbs, and Lua scripts for operations that Redis has no command for.
//!
//! A script is atomic: no other command runs and no key expires in the meantime. Each script writes
//! at most once, so a failed script has changed nothing. The scripts use `pcall` and return its
//! result, so that an error keeps its code on servers before 7.0 too.
//!
//! A read-only replica refuses a script only when the script writes. A script with nothing to write
//! therefore issues a write that changes nothing: it unlinks a missing key, or runs `SET` with `NX`
//! on a key that exists.

use std::sync::LazyLock;

use bytes::Bytes;
use codex_traits::Expiry;
use futures_util::future::BoxFuture;
use redis::{Script, Value};

use crate::{
    observe,
    route::Router,
    server::Timing,
    wire::{Command, Failure, error::server_error},
};

/// The maximum number of keys in one UNLINK. The server serves other clients between commands.
pub(crate) const KEYS_PER_UNLINK: usize = 1000;

/// Returns the UNLINK commands for these keys.
pub(crate) fn unlink<'a, K: AsRef<[u8]> + 'a>(keys: &'a [K]) -> Vec<Command<'a>> {
    let chunks = keys.chunks(KEYS_PER_UNLINK);
    chunks.map(|chunk| Command::new("UNLINK").args(chunk)).collect()
}

/// Returns SET without a condition.
#[inline]
pub(crate) fn set<'a>(key: &'a str, value: &'a Bytes, expiry: &ExpiryArguments) -> Command<'a> {
    let mut set = Command::new("SET");
    set.push(key.into());
    set.push(value.into());
    expiry.push_to(&mut set);
    set
}

/// The arguments of SET for an expiry.
pub(crate) struct ExpiryArguments {
    word: Option<&'static str>,
    millis: Option<i64>,
}

impl ExpiryArguments {
    /// Returns the arguments. `millis` is the duration of an `After`.
    pub(crate) fn new(expiry: Expiry, millis: Option<i64>) -> Self {
        let word = match expiry {
            Expiry::Never => None,
            Expiry::Keep => Some("KEEPTTL"),
            Expiry::After(_) => Some("PX"),
        };
        Self { word, millis }
    }

    #[inline]
    pub(crate) fn push_to(&self, command: &mut Command<'_>) {
        if let Some(word) = self.word {
            command.push(word.into());
        }
        if let Some(millis) = self.millis {
            command.push(millis.into());
        }
    }
}

/// Sets `KEYS[1]` to `ARGV[2]` with the options `ARGV[3…]` if it holds `ARGV[1]`. Returns nil
/// otherwise.
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

/// Removes `KEYS[1]` if it holds `ARGV[1]`. Returns the number of removed keys.
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

/// Clears the time to live of `KEYS[1]`. Returns 1 if the key exists. PERSIST alone also returns 0
/// for a key without a time to live.
pub(crate) static PERSIST: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local cleared = redis.pcall('PERSIST', KEYS[1])
if cleared ~= 0 then return cleared end
return redis.pcall('EXISTS', KEYS[1])",
    )
});

/// Adds `ARGV[1]` to `KEYS[1]`. If the key is missing and `ARGV[2]` is empty, returns nil.
/// Otherwise a missing key is created and expires after `ARGV[2]` milliseconds.
///
/// The sum is read as text, because a Lua number has only 53 bits of precision.
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

/// Returns the value of `KEYS[1]` and its PTTL.
pub(crate) static GET_WITH_TTL: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
return {held, redis.pcall('PTTL', KEYS[1])}",
    )
});

/// A script and its SHA-1, which identifies the script on a server that has seen it.
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

    /// Runs the script on one key by its hash. If the server does not know the hash, sends the
    /// source. NOSCRIPT means that nothing ran, so the script never runs twice. Both attempts are
    /// within the deadline.
    ///
    /// Boxed, because it would otherwise make the future of a verb too large for glibc's per-thread
    /// cache.
    pub(crate) fn run<'a>(
        &'a self,
        router: &'a Router,
        timing: &'a Timing,
        key: &'a str,
        arguments: impl Fn(Command<'a>) -> Command<'a> + Send + Sync + 'a,
    ) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move {
            let call = |verb, script: &'a str| arguments(Command::new(verb).arg(script).arg(1_u64).arg(key));
            let reply = router.command(timing, key, &call("EVALSHA", &self.hash)).await?;
            match server_error(&reply) {
                Some(error) if error.code() == "NOSCRIPT" => {
                    observe::sent_again(timing.deadline.verb, "NOSCRIPT");
                    let timing = Timing::waited(timing.deadline);
                    let eval = call("EVAL", self.code);
                    Box::pin(async { router.command(&timing, key, &eval).await }).await
                }
                _ => Ok(reply),
            }
        })
    }
}
