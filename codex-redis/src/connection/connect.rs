//! Opening one connection: socket, driver, login.

use std::{
    future::Future,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{
    Value,
    io::tcp::socket2::{SockRef, TcpKeepalive},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};

#[cfg(feature = "tls")]
use super::tls;
use super::{
    failure::{BROKEN, DialError, End, Lost},
    happy_eyeballs,
    login::{self, Refusal},
    multiplexer::{Deadline, Limits, Multiplexer, Watch},
    probe,
};
use crate::{
    config::settings::{Address, Settings},
    observe,
    wire::{Command, Request},
};

/// The time for which sent data may stay unacknowledged before the connection ends. Keepalive
/// covers only idle connections.
#[cfg(any(target_os = "android", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Milliseconds for which a primary counts as confirmed before the Sentinels are asked again.
const CONFIRMED_FOR: u64 = 1000;

/// The number of unanswered requests that a connection accepts, as a multiple of `max_in_flight`.
/// The replies to calls that were dropped or timed out are still to come.
const UNANSWERED: usize = 4;

/// The memory around a value in its reply, in bytes. A value of exactly `max_reply_bytes` can be
/// read, by GET, MGET or a transaction.
const AROUND: usize = 1 << 10;

/// An open connection. It ends when its last holder drops it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Unique within the process.
    id: u64,
    multiplexer: Multiplexer,
    address: Address,
    since: Instant,
    /// The time of the last check that the server is still the primary, in milliseconds since
    /// `since`.
    confirmed: AtomicU64,
    _open: observe::metrics::Open,
}

/// The id of the next connection.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Connection {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn multiplexer(&self) -> &Multiplexer {
        &self.multiplexer
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Returns whether it is time to confirm that the server is still the primary. At most one call
    /// gets `true` each time.
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

/// Opens a connection to this address and logs in, before the deadline. `watch` is notified of
/// pushes and of the end of the connection. Tasks of the current runtime drive the connection.
pub(crate) async fn open(
    address: &Address,
    settings: &Settings,
    deadline: Instant,
    watch: Box<dyn Watch>,
) -> Result<Connection, DialError> {
    match address {
        Address::Tcp { host, port } => {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut stream = within(deadline, NO_CONNECTION, happy_eyeballs::connect(host, *port, left)).await?;
            tune(&stream, settings.keepalive)?;
            let peer = stream.peer_addr()?;
            #[cfg(feature = "tls")]
            if let Some(source) = &settings.tls {
                let connector = within(deadline, NO_FILES, tls::connector(source)).await?;
                let mut stream = tls::handshake(&connector, host, stream, deadline).await?;
                let entered = log_in(&mut stream, settings, deadline).await;
                entered.map_err(Refusal::into_error)?;
                let (reader, writer) = tokio::io::split(stream);
                return Ok(connection(reader, writer, address, settings, watch));
            }
            match log_in(&mut stream, settings, deadline).await {
                Ok(()) => {}
                Err(Refusal::Mute(error)) => {
                    return match timeout_at(deadline, probe::speaks_tls(peer)).await {
                        Ok(true) => Err(login::speaks_tls()),
                        _ => Err(error),
                    };
                }
                Err(Refusal::Told(error)) => return Err(error),
            }
            let (reader, writer) = stream.into_split();
            Ok(connection(reader, writer, address, settings, watch))
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let connecting = async { tokio::net::UnixStream::connect(path).await.map_err(DialError::from) };
            let mut stream = within(deadline, NO_CONNECTION, connecting).await?;
            let entered = log_in(&mut stream, settings, deadline).await;
            entered.map_err(Refusal::into_error)?;
            let (reader, writer) = stream.into_split();
            Ok(connection(reader, writer, address, settings, watch))
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err(DialError::config("this platform has no Unix sockets; connect over TCP")),
    }
}

const NO_CONNECTION: &str =
    "no connection to the server within the connect timeout: check host and port, and firewalls on the way";
#[cfg(feature = "tls")]
const NO_FILES: &str = "the TLS files were not read within the connect timeout";
const NO_CREDENTIALS: &str = "the credentials provider did not answer within the connect timeout";
const NO_LOGIN: &str = "the server accepted the connection and did not answer the login within the connect timeout: it may be \
                        overloaded or frozen, or not be Redis";

/// Returns the outcome of one step of a dial, or an error with the text `late` after the deadline.
async fn within<T, E: From<DialError>>(
    deadline: Instant,
    late: &'static str,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match timeout_at(deadline, step).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DialError::late(late).into()),
    }
}

fn tune(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    // Requests are already batched, so Nagle's algorithm would only delay the last packet.
    stream.set_nodelay(true)?;
    if let Some(keepalive) = keepalive {
        let socket = SockRef::from(stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive))?;
        #[cfg(any(target_os = "android", target_os = "linux"))]
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    }
    Ok(())
}

/// Logs the end of a connection.
pub(crate) fn log_end(address: &Address, end: End, unanswered: usize) {
    match end {
        // Servers close idle connections in normal operation.
        End::Closed(_) if unanswered == 0 => {}
        End::Stopped => {}
        end => observe::evicted(address.parts(), end.reason()),
    }
}

async fn log_in<S>(stream: &mut S, settings: &Settings, deadline: Instant) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let login = match &settings.login {
        None => None,
        Some(source) => {
            let login = async { source.login().await.map_err(DialError::of_provider) };
            Some(within(deadline, NO_CREDENTIALS, login).await?)
        }
    };
    within(deadline, NO_LOGIN, login::log_in(stream, login.as_ref(), settings)).await
}

fn connection<R, W>(reader: R, writer: W, address: &Address, settings: &Settings, watch: Box<dyn Watch>) -> Connection
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    #[cfg(feature = "tls")]
    let writes_records = settings.tls.is_some();
    #[cfg(not(feature = "tls"))]
    let writes_records = false;
    let limits = Limits {
        unanswered: settings.max_in_flight.saturating_mul(UNANSWERED),
        reply_bytes: settings.max_reply_bytes.saturating_add(AROUND),
        timeouts: settings.timeouts_before_redial,
        patience: settings.command_timeout.saturating_mul(settings.timeouts_before_redial),
        writes_records,
    };
    Connection {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        multiplexer: Multiplexer::new(reader, writer, limits, watch),
        address: address.clone(),
        since: Instant::now(),
        confirmed: AtomicU64::new(0),
        _open: observe::metrics::Open::new(),
    }
}

/// Sends commands on a new connection as a part of the dial. Their deadline is a connect timeout
/// from now; the caller limits the dial as a whole.
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
        Ok(Err(Lost::Late)) => Err(DialError::late(NO_LOGIN)),
        Err(_) => Err(DialError::unreachable(BROKEN)),
    }
}
