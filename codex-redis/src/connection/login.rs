//! The login: the first requests on a connection, and the server's replies.
//!
//! It uses the connection directly, before the multiplexer takes over. So it sees the reason that a
//! server sends before it closes a connection that it rejects.

use std::io;

use codex_traits::ErrorKind;
use redis::ServerError;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::{
    failure::{DialError, Reason},
    probe,
};
use crate::{
    config::{
        credentials::Login,
        settings::{RespVersion, Settings},
    },
    wire::{
        Command, Request,
        decoder::{Decoder, Frame},
        error::server_error,
    },
};

/// The maximum size of the replies to a login, in bytes. The longest reply of a server is that to
/// HELLO, a few hundred bytes.
const MOST_BYTES: usize = 64 << 10;

/// The bytes with which RESP replies begin.
const REPLIES: &[u8] = b"+-:$*%~>|_#,(=!";

/// The request of the login that a reply answers.
#[derive(Debug, Clone, Copy)]
enum Step {
    Login,
    Protocol,
    Database,
    Name,
    Ping,
}

/// The reason why a login failed.
pub(super) enum Refusal {
    /// The error states the cause and the remedy.
    Told(DialError),
    /// The peer closed the connection without sending anything.
    Mute(DialError),
}

impl Refusal {
    pub(super) fn into_error(self) -> DialError {
        match self {
            Self::Told(error) | Self::Mute(error) => error,
        }
    }
}

impl From<DialError> for Refusal {
    fn from(error: DialError) -> Self {
        Self::Told(error)
    }
}

/// Logs in, selects the database, names the connection and sends a PING. A server that requires a
/// password says so only in a reply.
pub(super) async fn log_in<S>(stream: &mut S, login: Option<&Login>, settings: &Settings) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (request, steps) = introduction(login, settings);
    let mut written = async {
        stream.write_all(&request).await?;
        stream.flush().await
    }
    .await;
    let mut decoder = Decoder::new(MOST_BYTES);
    let mut incoming: Vec<u8> = Vec::new();
    // The first bytes, at most 8, which can identify a server of another protocol.
    let mut first = Vec::new();
    let mut received = 0;
    let mut steps = steps.into_iter();
    let mut step = steps.next();
    while let Some(current) = step {
        let mut bytes = &incoming[..];
        let Ok(frame) = decoder.next(&mut bytes, MOST_BYTES) else {
            return Err(malformed(&first).into());
        };
        let taken = incoming.len() - bytes.len();
        incoming.drain(..taken);
        match frame {
            Some(Frame::Reply(reply, _)) => {
                if let Some(error) = server_error(&reply) {
                    refusal(current, error)?;
                }
                step = steps.next();
                continue;
            }
            Some(Frame::Push(_)) => continue,
            None => {}
        }
        let read = match stream.read_buf(&mut incoming).await {
            // A server that rejects a connection does not read the request. Its reply, read before,
            // takes precedence over the failed write.
            Ok(0) => Err(std::mem::replace(&mut written, Ok(())).err()),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(Some(error)),
        };
        match read {
            Ok(bytes) => {
                if received == 0 {
                    first = incoming[..bytes.min(8)].to_vec();
                    // Without the end of a line, the decoder would wait for more bytes.
                    if !first.first().is_some_and(|kind| REPLIES.contains(kind)) {
                        return Err(malformed(&first).into());
                    }
                }
                received += bytes;
            }
            Err(error) if received == 0 => return Err(Refusal::Mute(closed(current, error.as_ref()))),
            Err(error) => return Err(closed(current, error.as_ref()).into()),
        }
        if received > MOST_BYTES {
            return Err(
                DialError::server("the server sent more than 64 KiB in answer to the login: it is not Redis").into(),
            );
        }
    }
    if incoming.is_empty() {
        Ok(())
    } else {
        Err(DialError::server("the server sent more replies than requests during the login").into())
    }
}

/// Returns the requests of the login, and the step that each reply belongs to. The buffer is wiped
/// when it is dropped.
fn introduction(login: Option<&Login>, settings: &Settings) -> (Zeroizing<Vec<u8>>, Vec<Step>) {
    let mut commands = Vec::with_capacity(5);
    let mut steps = Vec::with_capacity(5);
    // A server without a password refuses an empty one.
    if let Some(login) = login.filter(|login| !login.is_empty()) {
        let mut auth = Command::new("AUTH").secret();
        if let Some(user) = &login.user {
            auth = auth.arg(user);
        }
        commands.push(auth.arg(login.password.as_str()));
        steps.push(Step::Login);
    }
    if settings.resp == RespVersion::Resp3 {
        // AUTH precedes HELLO instead of being its argument, because a server without HELLO repeats
        // the arguments in its error.
        commands.push(Command::new("HELLO").arg(3_u64));
        steps.push(Step::Protocol);
    }
    if settings.database != 0 {
        commands.push(Command::new("SELECT").arg(u64::from(settings.database)));
        steps.push(Step::Database);
    }
    if let Some(name) = &settings.client_name {
        commands.push(Command::new("CLIENT SETNAME").arg(name));
        steps.push(Step::Name);
    }
    commands.push(Command::read("PING"));
    steps.push(Step::Ping);
    let mut request = Zeroizing::new(Vec::new());
    Request::all(&commands).write(&mut request);
    (request, steps)
}

/// Returns an error if this error reply makes the connection useless.
fn refusal(step: Step, error: &ServerError) -> Result<(), DialError> {
    let text = error.details().unwrap_or_default();
    let is_unknown = error.code() == "ERR" && text.starts_with("unknown command");
    let refused = match (step, error.code()) {
        (_, "ERR") if text.starts_with("max number of clients") => DialError::server(
            "the server has reached its connection limit: raise its `maxclients`, or lower `connections` and the number of \
             processes",
        ),
        (_, "DENIED") => DialError::config(
            "the server runs in protected mode and takes no connections from other hosts (DENIED): set a password for its \
             default user, or `protected-mode no` on a private network",
        ),
        (_, "LOADING") => DialError::server("the server is still loading its data (LOADING): try again later"),
        (_, "BUSY") => DialError::server("the server is busy with a script (BUSY): end it with SCRIPT KILL"),
        (_, "MASTERDOWN") => DialError::server(
            "the replica has lost its primary (MASTERDOWN): connect to the primary, or set `replica-serve-stale-data yes`",
        ),
        (Step::Protocol | Step::Database | Step::Name | Step::Ping, "NOAUTH") => DialError::config(
            "the server wants a password, and none is set: write `user:password@` before the host, or use \
             `RedisBuilder::password`",
        ),
        // A user without these rights can still read and write, and even an error answers the PING.
        // A server that cannot save to disk refuses a PING as it refuses writes, and can be read.
        (Step::Name, _) | (Step::Ping, "NOPERM" | "MISCONF") => return Ok(()),
        (Step::Ping, _) if is_unknown => return Ok(()),
        (Step::Login, _) if text.contains("without any password configured") || text.contains("no password is set") => {
            DialError::config(
                "a password is set here, and the server's default user has none: remove it, or name the user that it belongs to",
            )
        }
        (Step::Login, _) if is_unknown || text.starts_with("wrong number of arguments") => DialError::config(
            "the server has no users (AUTH takes no user name before Redis 6): remove the user name, or the login behind a proxy",
        ),
        (Step::Login, _) => DialError::config(
            "the server refused the user name or the password: check both with `redis-cli --user USER --askpass PING`",
        ),
        (Step::Protocol, "NOPERM") => {
            DialError::config("the server's user may not use HELLO: grant `+hello`, or use resp=2")
        }
        (Step::Protocol, _) => {
            DialError::config("the server, or the proxy before it, refused RESP3 (HELLO 3): use resp=2")
        }
        (Step::Database, "NOPERM") => {
            DialError::config("the server's user may not select a database: grant `+select`, or use database 0")
        }
        (Step::Database, _) if text.contains("cluster mode") => DialError::config(
            "the server is a node of a cluster, which has only database 0: use a redis-cluster:// URL",
        ),
        (Step::Database, _) if is_unknown => {
            DialError::config("the server, or the proxy before it, does not know SELECT: use database 0")
        }
        (Step::Database, _) => DialError::config(
            "the server has no database of this number: use a smaller one, or raise its setting `databases`",
        ),
        (Step::Ping, _) => DialError::server("the server answered a PING with an error"),
    };
    // Errors of the other kinds are about the server's state, at any step.
    let reason = match (step, error.code()) {
        _ if refused.kind != ErrorKind::Config || error.code() == "DENIED" => Reason::Other,
        (Step::Login, _) | (_, "NOAUTH") => Reason::Login,
        (Step::Protocol, _) => Reason::Resp3,
        _ => Reason::Other,
    };
    Err(refused.with_reason(reason))
}

/// Returns the error for bytes that are not RESP. It does not show them, because they may be a
/// stored value.
fn malformed(bytes: &[u8]) -> DialError {
    if probe::is_tls(bytes) {
        speaks_tls()
    } else if bytes.starts_with(b"HTTP/") {
        DialError::config("the server speaks HTTP on this port, not Redis: check host and port")
    } else {
        DialError::config("the server does not speak the Redis protocol on this port: check host and port")
    }
}

/// Returns the error for a port that requires TLS.
pub(super) fn speaks_tls() -> DialError {
    DialError::config("the server speaks TLS on this port: use a rediss:// URL, or its port without TLS")
}

/// Returns the error for a connection that ended before a reply arrived.
fn closed(step: Step, error: Option<&io::Error>) -> DialError {
    #[cfg(feature = "tls")]
    if let Some(message) = error.and_then(super::tls::misconfigured) {
        return DialError::config(message);
    }
    let message = match step {
        Step::Login => {
            "the server closed the connection during the login, before it answered AUTH: it may be shutting down or at its \
                 connection limit, or a proxy before it does not know one of AUTH, HELLO (`resp=2` sends none), SELECT (`db=0` \
                 sends none) and CLIENT SETNAME (an empty `client_name` sends none)"
        }
        Step::Protocol => {
            "the server closed the connection in answer to HELLO 3: a proxy before it may not know it; use resp=2"
        }
        Step::Database => {
            "the server closed the connection in answer to SELECT: a proxy before it may not know it; use database 0, and an \
                 empty `client_name` so that CLIENT SETNAME is not sent"
        }
        Step::Name => {
            "the server closed the connection in answer to CLIENT SETNAME: a proxy before it may not know it; use an empty \
                 `client_name`"
        }
        Step::Ping => {
            "the server closed the connection before it answered a PING: it may be shutting down or at its connection limit, \
                 or be a proxy without a server"
        }
    };
    let reason = match step {
        Step::Protocol => Reason::Resp3,
        _ => Reason::Other,
    };
    DialError::unreachable(message)
        .because(error.map_or(Some(io::ErrorKind::UnexpectedEof), |error| Some(error.kind())))
        .with_reason(reason)
}
