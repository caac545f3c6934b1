//! What Redis has no command for, as Lua.
//!
//! A script is one step: nothing else runs in between, and time stands still. Each of these writes at most once, so one that
//! fails has changed nothing. They call by `pcall` and return what it gave, so that an error keeps its code on servers before 7.0
//! too.

use std::sync::LazyLock;

use codex_traits::Result;
use redis::{Cmd, Script, Value, cmd};

use crate::{observe, route::Store};

/// `KEYS[1]` = `ARGV[2]` with the options `ARGV[3…]`, where it holds `ARGV[1]`; nil where it does not.
pub(crate) static SET_IF_EQUALS: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
if held ~= ARGV[1] then return false end
return redis.pcall('SET', KEYS[1], ARGV[2], unpack(ARGV, 3))",
    )
});

/// Removes `KEYS[1]` where it holds `ARGV[1]`; how many were removed.
pub(crate) static DEL_IF_EQUALS: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
if held ~= ARGV[1] then return 0 end
return redis.pcall('UNLINK', KEYS[1])",
    )
});

/// Clears the time to live of `KEYS[1]`; 1 where the key is there. PERSIST alone answers 0 also where there was none to clear.
pub(crate) static PERSIST: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local cleared = redis.pcall('PERSIST', KEYS[1])
if cleared ~= 0 then return cleared end
return redis.pcall('EXISTS', KEYS[1])",
    )
});

/// Adds `ARGV[1]` to `KEYS[1]`. Where it is missing: nil where `ARGV[2]` is empty, or else created to end after that many
/// milliseconds.
///
/// The sum is read as text: a Lua number has 53 bits.
pub(crate) static INCREMENT: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "if redis.call('EXISTS', KEYS[1]) == 0 then
  if ARGV[2] == '' then return false end
  local made = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  if made.err then return made end
  return ARGV[1]
end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' then return sum end
return redis.call('GET', KEYS[1])",
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

    /// Runs it on one key: by its hash, and once more with its text where the server does not know that. NOSCRIPT is an answer from
    /// before anything ran, so nothing runs twice.
    pub(crate) async fn run(
        &self,
        store: &Store,
        operation: &'static str,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<Value> {
        let reply = store
            .command(operation, key, &call("EVALSHA", &self.hash, key, arguments))
            .await?;
        match &reply {
            Value::ServerError(error) if error.code() == "NOSCRIPT" => {
                observe::sent_again(operation, "NOSCRIPT");
                store
                    .command(operation, key, &call("EVAL", self.code, key, arguments))
                    .await
            }
            _ => Ok(reply),
        }
    }
}

fn call(verb: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = cmd(verb);
    command.arg(script).arg(1).arg(key);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}
