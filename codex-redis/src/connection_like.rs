//! Any command on the connections of a backend, for `redis::AsyncCommands`.

use std::{fmt, io};

use codex_traits::{Error, ErrorKind};
use redis::{Arg, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value, aio::ConnectionLike};

use crate::{
    backend::RedisBackend,
    config::settings::RespVersion,
    connection::multiplexer::Deadline,
    route::Servers,
    wire::{Command, Failure, Request, command_name, reply::Replies},
};

/// Commands that would change the connection, which all calls share.
const OF_THE_CONNECTION: [&str; 23] = [
    "ASKING",
    "AUTH",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
];

/// The allowed subcommands of `CLIENT`. The other subcommands change the connection.
const OF_THE_CLIENT: [&str; 8] = [
    "GETNAME",
    "GETREDIR",
    "HELP",
    "ID",
    "INFO",
    "KILL",
    "LIST",
    "TRACKINGINFO",
];

/// Commands that the server answers only when something happens. They would block every later call.
const BLOCKING: [&str; 10] = [
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "WAIT",
    "WAITAOF",
];

/// Commands that block with the option `BLOCK`. The keys follow the word `STREAMS`.
const STREAM_READS: [&str; 2] = ["XREAD", "XREADGROUP"];

/// Commands without a key that any node of a cluster can answer.
const ANYWHERE: [&str; 5] = ["ECHO", "PING", "PUBLISH", "TIME", "COMMAND"];

/// Commands whose first argument is a subcommand and the second a key.
const KEY_SECOND: [&str; 5] = ["BITOP", "MEMORY", "OBJECT", "XGROUP", "XINFO"];

/// Commands whose second argument is the number of keys that follow.
const COUNTED_SECOND: [&str; 6] = ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"];

/// Commands whose first argument is the number of keys that follow.
const COUNTED_FIRST: [&str; 7] = [
    "LMPOP",
    "SINTERCARD",
    "ZDIFF",
    "ZINTER",
    "ZINTERCARD",
    "ZMPOP",
    "ZUNION",
];

/// The connections of a [`RedisBackend`] for any command: a [`redis::aio::ConnectionLike`], and
/// therefore a `redis::AsyncCommands`.
///
/// Commands go over the same connections as the backend's own calls, with the same deadline, the
/// same limits and the same reconnects. A command that may have run is never repeated. A clone is
/// cheap.
///
/// ```no_run
/// use codex_redis::RedisBackend;
/// use redis::AsyncCommands;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let backend = RedisBackend::connect("redis://127.0.0.1:6379/0").await?;
/// let mut connection = backend.connection();
/// let _: i64 = connection.zadd("scores", "ada", 7).await?;
/// let best: Vec<String> = connection.zrevrange("scores", 0, 9).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// An error reply is the server's own error, with its code and its text. Every other failure is an
/// I/O error that holds a [`codex_traits::Error`] of the verb `"command"`. Its kind is `TimedOut`
/// if the deadline has passed.
///
/// A command that would change the connection for everyone (`SELECT`, `SUBSCRIBE`, `WATCH`, …) or
/// block it (`BLPOP`, `XREAD` with `BLOCK`, …) is refused without being sent. Use a separate
/// connection for it. A transaction is an atomic [`redis::Pipeline`]. An empty command is refused
/// too, because the server does not answer it.
///
/// On a cluster a command goes to the node of its key, a pipeline of several keys to several nodes,
/// and a transaction to the node of its first key. The first argument of most commands counts as
/// the key. `KEYS`, `SCAN`, `CONFIG` and `SCRIPT` therefore reach a single node.
///
/// # Cancellation
///
/// The server may still carry out a command whose future is dropped, at most once.
#[derive(Clone)]
pub struct RedisConnection(RedisBackend);

impl RedisBackend {
    /// Returns the backend's connections for the `redis` crate. `redis::AsyncCommands` runs any
    /// command on them, beside the backend's own verbs.
    pub fn connection(&self) -> RedisConnection {
        RedisConnection(self.clone())
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisConnection").field(&self.0).finish()
    }
}

impl RedisConnection {
    async fn command(&self, cmd: &Cmd) -> RedisResult<Value> {
        check(cmd)?;
        let call = self.0.begin("command").await.map_err(redis_error)?;
        let command = packed(cmd);
        let deadline = call.deadline();
        let answer = match &self.0.router().servers {
            Servers::One(server) => server.command(deadline, &command).await,
            Servers::Cluster(cluster) => match key(cmd) {
                Key::At(key) => cluster.command(deadline, &key, &command).await,
                Key::Anywhere => cluster.anywhere(deadline, &command).await,
                Key::Unknown => Err(no_key()),
            },
        };
        let is_refused = matches!(answer, Ok(Value::ServerError(_)));
        let reply = call.end_as(answer, is_refused).map_err(redis_error)?;
        self.in_resp2(cmd, reply).extract_error()
    }

    async fn pipeline(&self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        for cmd in pipeline.cmd_iter() {
            check(cmd)?;
        }
        if pipeline.is_empty() {
            let executed = pipeline.is_transaction().then(|| Value::Array(Vec::new()));
            return Ok(executed.into_iter().collect());
        }
        let call = self.0.begin("command").await.map_err(redis_error)?;
        let deadline = call.deadline();
        let commands: Vec<_> = pipeline.cmd_iter().map(packed).collect();
        let converted = |answers: Vec<Value>| {
            let answers = pipeline.cmd_iter().zip(answers);
            answers.map(|(cmd, answer)| self.in_resp2(cmd, answer))
        };
        if !pipeline.is_transaction() {
            let answers = call.end(self.all(deadline, pipeline, &commands).await);
            return Ok(converted(answers.map_err(redis_error)?)
                .skip(offset)
                .take(count)
                .collect());
        }
        let replies = self.transaction(deadline, pipeline, &commands).await;
        let refusal = replies.as_ref().ok().and_then(Replies::refusal);
        // Otherwise some commands ran outside of a transaction, which the server's error does not
        // say.
        if let Some((error, true)) = refusal {
            let error = error.clone();
            call.end_as(replies, true).map_err(redis_error)?;
            return Err(error.into());
        }
        let answers = replies.and_then(|replies| replies.executed(commands.len()));
        let answers = call.end(answers).map_err(redis_error)?;
        Ok(vec![Value::Array(converted(answers).collect())])
    }

    /// Converts a reply in RESP3 to the form that it has in RESP2. The decoder gives a map as the
    /// list of its keys and values. RESP2 does the same, but gives streams as a list of pairs.
    fn in_resp2(&self, cmd: &Cmd, reply: Value) -> Value {
        match reply {
            Value::Array(items)
                if self.0.router().settings().resp == RespVersion::Resp3
                    && words(cmd).next().is_some_and(|name| is_one_of(name, &STREAM_READS)) =>
            {
                Value::Array(pairs(items))
            }
            reply => reply,
        }
    }

    async fn all(
        &self,
        deadline: Deadline,
        pipeline: &Pipeline,
        commands: &[Command<'_>],
    ) -> Result<Vec<Value>, Failure> {
        match &self.0.router().servers {
            Servers::One(server) => server.all(deadline, commands).await,
            Servers::Cluster(cluster) => {
                let keys: Result<Vec<_>, _> = pipeline.cmd_iter().map(|cmd| key(cmd).or_failure()).collect();
                cluster.all(deadline, keys?, commands).await
            }
        }
    }

    async fn transaction(
        &self,
        deadline: Deadline,
        pipeline: &Pipeline,
        commands: &[Command<'_>],
    ) -> Result<Replies, Failure> {
        match &self.0.router().servers {
            Servers::One(server) => server.request(deadline, Request::transaction(commands)).await,
            Servers::Cluster(cluster) => {
                let first = pipeline.cmd_iter().next().map_or(Key::Unknown, key);
                cluster.transaction(deadline, &first.or_failure()?, commands).await
            }
        }
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.command(cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.pipeline(pipeline, offset, count))
    }

    fn get_db(&self) -> i64 {
        self.0.router().settings().database.into()
    }
}

/// Returns the items two by two.
fn pairs(items: Vec<Value>) -> Vec<Value> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(first), Some(second)) = (items.next(), items.next()) {
        pairs.push(Value::Array(vec![first, second]));
    }
    pairs
}

fn words(cmd: &Cmd) -> impl Iterator<Item = &[u8]> {
    cmd.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        // The cursor of a scan.
        _ => &[],
    })
}

fn is_one_of(word: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

fn packed(cmd: &Cmd) -> Command<'static> {
    let name = command_name::known(words(cmd).next().unwrap_or_default());
    Command::packed(name, cmd.get_packed_command())
}

/// Refuses a command that must not run on a shared connection.
fn check(cmd: &Cmd) -> RedisResult<()> {
    let mut words = words(cmd);
    // The server sends no reply to a command without words, so the call would take the reply to the
    // next call.
    let Some(name) = words.next() else {
        let empty = "the command is empty; name a command, for example with `redis::cmd(\"PING\")`";
        return Err(RedisError::from((redis::ErrorKind::InvalidClientConfig, empty)));
    };
    let refused = if is_one_of(name, &OF_THE_CONNECTION)
        || (is_one_of(name, &["CLIENT"]) && !words.next().is_some_and(|word| is_one_of(word, &OF_THE_CLIENT)))
        // The debugger takes over the connection at the next script.
        || (is_one_of(name, &["SCRIPT"]) && words.next().is_some_and(|word| is_one_of(word, &["DEBUG"])))
    {
        "this command changes the connection, which is shared; use a separate connection for it"
    } else if is_one_of(name, &BLOCKING) || (is_one_of(name, &STREAM_READS) && skip_stream_options(&mut words)) {
        "this command blocks the connection, which is shared; use a separate connection for it"
    } else {
        return Ok(());
    };
    Err(RedisError::from((redis::ErrorKind::InvalidClientConfig, refused)))
}

/// Skips the options of a command that reads streams, up to and including `STREAMS`. Returns
/// whether the command blocks.
///
/// A group, a consumer or a stream may have the name of an option.
fn skip_stream_options<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> bool {
    let mut blocks = false;
    while let Some(word) = words.next() {
        if is_one_of(word, &["STREAMS"]) {
            break;
        }
        let is_block = is_one_of(word, &["BLOCK"]);
        blocks |= is_block;
        let arguments = if is_one_of(word, &["GROUP"]) {
            2
        } else {
            usize::from(is_block || is_one_of(word, &["COUNT", "CLAIM"]))
        };
        words.by_ref().take(arguments).for_each(drop);
    }
    blocks
}

/// The node for a command on a cluster.
enum Key {
    At(Vec<u8>),
    Anywhere,
    Unknown,
}

impl Key {
    fn or_failure(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::At(key) => Ok(key),
            Self::Anywhere | Self::Unknown => Err(no_key()),
        }
    }
}

fn key(cmd: &Cmd) -> Key {
    let mut words = words(cmd);
    let name = words.next().unwrap_or_default();
    let counted = |count: Option<&[u8]>, key: Option<&[u8]>| match (count, key) {
        (Some(b"0"), _) => Key::Anywhere,
        (_, Some(key)) => Key::At(key.to_owned()),
        _ => Key::Unknown,
    };
    if is_one_of(name, &ANYWHERE) {
        return Key::Anywhere;
    }
    if is_one_of(name, &COUNTED_SECOND) {
        words.next();
        let count = words.next();
        return counted(count, words.next());
    }
    if is_one_of(name, &COUNTED_FIRST) {
        let count = words.next();
        return counted(count, words.next());
    }
    if is_one_of(name, &STREAM_READS) {
        skip_stream_options(&mut words);
    } else if is_one_of(name, &KEY_SECOND) {
        words.next();
    }
    words.next().map_or(Key::Unknown, |key| Key::At(key.to_owned()))
}

fn no_key() -> Failure {
    Failure::new(
        ErrorKind::InvalidArgument,
        "on a cluster a command needs a key, which determines the node",
    )
}

fn redis_error(error: Error) -> RedisError {
    let kind = match error.kind() {
        ErrorKind::Timeout => io::ErrorKind::TimedOut,
        ErrorKind::Connection if error.may_have_executed() => io::ErrorKind::BrokenPipe,
        ErrorKind::Connection => io::ErrorKind::NotConnected,
        ErrorKind::InvalidArgument | ErrorKind::Config => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::Other,
    };
    RedisError::from(io::Error::new(kind, error))
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn commands_that_are_not_for_a_shared_connection_are_refused() {
        let words = |text: &str| {
            let mut words = text.split(' ');
            let mut command = cmd(words.next().unwrap());
            for word in words {
                command.arg(word);
            }
            command
        };
        for text in [
            "SELECT 1",
            "select 1",
            "MULTI",
            "WATCH k",
            "SUBSCRIBE c",
            "CLIENT REPLY OFF",
            "client tracking on",
            "CLIENT",
            "SCRIPT DEBUG YES",
            "script debug sync",
            "BLPOP k 0",
            "XREAD BLOCK 0 STREAMS s 0",
            "xreadgroup group g c block 5 streams s 0",
            "XREADGROUP GROUP streams c BLOCK 0 STREAMS s >",
            "WAIT 1 0",
            "RESET",
        ] {
            assert!(check(&words(text)).is_err(), "{text}");
        }
        assert!(check(&Cmd::new()).is_err(), "an empty command");
        for text in [
            "GET k",
            "ZADD k 1 m",
            "XREAD STREAMS s 0",
            "XREAD STREAMS block 0",
            "XREADGROUP GROUP block c STREAMS s >",
            "CLIENT LIST",
            "SCRIPT FLUSH",
            "SET WATCH 1",
        ] {
            assert!(check(&words(text)).is_ok(), "{text}");
        }
        for (text, expected) in [
            ("GET k", "k"),
            ("EVAL code 1 k a", "k"),
            ("ZUNION 2 k l", "k"),
            ("XREAD COUNT 1 STREAMS k 0", "k"),
            ("XREADGROUP GROUP streams c STREAMS k >", "k"),
            ("OBJECT ENCODING k", "k"),
        ] {
            assert!(
                matches!(key(&words(text)), Key::At(key) if key == expected.as_bytes()),
                "{text}"
            );
        }
        assert!(matches!(key(&words("EVAL code 0")), Key::Anywhere));
        assert!(matches!(key(&words("DBSIZE")), Key::Unknown));
    }
}
