//! Opening one connection: socket, driver, login.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{
    ServerError, Value,
    io::tcp::socket2::{SockRef, TcpKeepalive},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

#[cfg(feature = "tls")]
use super::tls::handshake_failed;
use super::{
    failure::{DialError, End, Lost},
    multiplexer::{Deadline, Limits, Multiplexer, Watch},
};
use crate::{
    config::settings::{Address, RespVersion, Settings},
    observe,
    wire::{Command, Request, error::server_error},
};

/// Unconfirmed data on a dead path is given up after this, where keepalive sees idle connections only.
#[cfg(any(target_os = "android", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a primary is taken for one before Sentinels are asked again, in milliseconds.
const CONFIRMED_FOR: u64 = 1000;

/// A connection takes this many times the calls of a handle: calls that were dropped, or have ended at their deadline, still have
/// their reply to come.
const UNANSWERED: usize = 4;

/// A connection that is up. It ends when the last holder lets go of it.
#[derive(Debug)]
pub(crate) struct Connection {
    multiplexer: Multiplexer,
    address: Address,
    since: Instant,
    /// When it was last asked whether the server is still the primary, in milliseconds since `since`.
    confirmed: AtomicU64,
    _open: observe::metrics::Open,
}

impl Connection {
    pub(crate) fn multiplexer(&self) -> &Multiplexer {
        &self.multiplexer
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is time to ask again whether the server is still the primary; at most one call is told so each time.
    pub(crate) fn is_confirmation_due(&self) -> bool {
        let age = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.confirmed.load(Ordering::Relaxed);
        age.saturating_sub(last) >= CONFIRMED_FOR
            && self
                .confirmed
                .compare_exchange(last, age, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Opens a connection to this address and logs in. The connection is driven by a task of the current runtime.
pub(crate) async fn open(address: &Address, settings: &Settings) -> Result<Connection, DialError> {
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            tune(&stream, settings.keepalive)?;
            #[cfg(feature = "tls")]
            if let Some(tls) = &settings.tls {
                let stream = super::tls::connector(tls)
                    .await?
                    .connect(host, stream)
                    .await
                    .map_err(|error| handshake_failed(&error))?;
                let (reader, writer) = tokio::io::split(stream);
                return log_in(reader, writer, address, settings).await;
            }
            let (reader, writer) = stream.into_split();
            log_in(reader, writer, address, settings).await
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let (reader, writer) = tokio::net::UnixStream::connect(path).await?.into_split();
            log_in(reader, writer, address, settings).await
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err(DialError::config("this platform has no Unix sockets; connect over TCP")),
    }
}

fn tune(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    // Requests are written together by then; Nagle's algorithm would only hold the last packet back.
    stream.set_nodelay(true)?;
    if let Some(keepalive) = keepalive {
        let socket = SockRef::from(stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive))?;
        #[cfg(any(target_os = "android", target_os = "linux"))]
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    }
    Ok(())
}

/// Logs what ends a connection while it is used.
struct Log(Address);

impl Watch for Log {
    /// Nothing is asked for that is pushed.
    fn push(&self, _: Vec<Value>) {}

    fn ended(&self, end: End, unanswered: usize) {
        match end {
            // An idle connection that the server closes is nothing to be told of.
            End::Closed(_) if unanswered == 0 => {}
            End::Stopped => {}
            end => observe::evicted(self.0.parts(), end.reason()),
        }
    }
}

async fn log_in<R, W>(reader: R, writer: W, address: &Address, settings: &Settings) -> Result<Connection, DialError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let limits = Limits {
        unanswered: settings.max_in_flight.saturating_mul(UNANSWERED),
        reply_bytes: settings.max_reply_bytes,
        timeouts: settings.timeouts_before_redial,
        patience: settings.command_timeout.saturating_mul(settings.timeouts_before_redial),
    };
    let connection = Connection {
        multiplexer: Multiplexer::new(reader, writer, limits, Box::new(Log(address.clone()))),
        address: address.clone(),
        since: Instant::now(),
        confirmed: AtomicU64::new(0),
        _open: observe::metrics::Open::new(),
    };
    introduce(&connection, settings).await?;
    Ok(connection)
}

/// Sends commands to a server that is being dialled, within the dial, whose timeout covers it.
pub(crate) async fn ask(
    connection: &Connection,
    commands: &[Command<'_>],
    settings: &Settings,
) -> Result<Vec<Value>, DialError> {
    let latest = Instant::now() + settings.connect_timeout;
    let deadline = Deadline {
        at: latest,
        latest,
        verb: "connect",
    };
    let answer = connection.multiplexer.send(&Request::all(commands), None, deadline)?;
    match answer.await {
        Ok(Ok(answer)) => Ok(answer.into_replies().into_vec()),
        Ok(Err(Lost::Broken { end, .. })) => Err(end.into()),
        Ok(Err(Lost::Late)) => Err(DialError::late()),
        Err(_) => Err(DialError::broken(None)),
    }
}

/// What each reply of the introduction is about.
#[derive(Clone, Copy)]
enum Step {
    Login,
    Protocol,
    Database,
    Name,
    Ping,
}

/// Logs in, selects the database, gives a name, and asks for a first answer: of a server that wants a password, only an answer
/// says so.
async fn introduce(connection: &Connection, settings: &Settings) -> Result<(), DialError> {
    let mut commands = Vec::with_capacity(5);
    let mut steps = Vec::with_capacity(5);
    let login = match &settings.login {
        None => None,
        Some(source) => {
            let login = source.login().await;
            Some(login.map_err(|_| DialError::unreachable("the credentials provider failed"))?)
        }
    };
    if let Some(login) = &login {
        let mut auth = Command::new("AUTH").secret();
        if let Some(user) = &login.user {
            auth = auth.arg(user);
        }
        commands.push(auth.arg(login.password.as_str()));
        steps.push(Step::Login);
    }
    if settings.resp == RespVersion::Resp3 {
        // The login goes before it, and not into it: a server without HELLO quotes in its error what it was given.
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
    let replies = ask(connection, &commands, settings).await?;
    for (step, reply) in steps.into_iter().zip(&replies) {
        if let Some(error) = server_error(reply) {
            refusal(step, error)?;
        }
    }
    Ok(())
}

fn refusal(step: Step, error: &ServerError) -> Result<(), DialError> {
    Err(match (step, error.code()) {
        // A user without the right to these two can still have the right to read and write.
        (Step::Name, _) | (Step::Ping, "NOPERM") => return Ok(()),
        (_, "LOADING") => DialError::server("the server is still loading its data (LOADING)"),
        (_, "BUSY") => DialError::server("the server is busy with a script (BUSY)"),
        (_, "MASTERDOWN") => DialError::server("the replica has lost its primary (MASTERDOWN)"),
        (Step::Login, _) => DialError::config("the server refused the user name or the password"),
        (_, "NOAUTH") => DialError::config("the server wants a password, and none is set"),
        (Step::Protocol, _) => DialError::config("the server refused RESP3 (HELLO 3)"),
        (Step::Database, "NOPERM") => DialError::config("the server's user may not select a database"),
        (Step::Database, _) => DialError::config("the server has no database of this number"),
        (Step::Ping, _) => DialError::server("the server answered a PING with an error"),
    })
}
