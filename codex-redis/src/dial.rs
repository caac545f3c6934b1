//! Making one connection: socket, driver, login.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use codex_traits::{Error, ErrorKind};
use redis::{
    Pipeline, ServerError, Value,
    io::tcp::socket2::{SockRef, TcpKeepalive},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};

use crate::{
    endpoint::{Endpoint, Origin},
    mux::{Lost, Mux, NotSent},
    observe,
    request::Request,
    sentinel::text,
    settings::{Address, RespVersion, Settings},
};

/// Unconfirmed data on a dead path is given up after this, where keepalive sees idle connections only.
#[cfg(any(target_os = "android", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a primary is taken for one before Sentinels are asked again, in milliseconds.
const CONFIRMED_FOR: u64 = 1000;

/// A connection takes so many times the calls of a handle: calls that were dropped, or have ended at their deadline, still have their
/// reply to come.
const UNANSWERED: usize = 4;

/// A connection that is up. It ends when the last holder lets go of it.
#[derive(Debug)]
pub(crate) struct Link {
    mux: Mux,
    address: Address,
    since: Instant,
    /// When it was last asked whether the server is still the primary, in milliseconds since `since`.
    confirmed: AtomicU64,
    _open: observe::count::Open,
}

impl Link {
    pub(crate) fn mux(&self) -> &Mux {
        &self.mux
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

/// Why there is no connection. A caller who waited for somebody else's dial gets it too, so it can be cloned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialError {
    kind: ErrorKind,
    message: &'static str,
    source: Option<io::ErrorKind>,
    retryable: bool,
}

impl DialError {
    /// For a call; it was not sent.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        // What was right at `connect` and is refused now was changed at the server.
        let kind = if self.kind == ErrorKind::Config {
            ErrorKind::Server
        } else {
            self.kind
        };
        self.with_kind(kind, operation)
    }

    /// For whoever made the settings.
    pub(crate) fn into_connect_error(self) -> Error {
        self.with_kind(self.kind, "connect")
    }

    fn with_kind(self, kind: ErrorKind, operation: &'static str) -> Error {
        let mut error = Error::new(kind, operation, self.message).not_executed();
        if self.retryable {
            error = error.retryable();
        }
        match self.source {
            Some(source) => error.with_source(io::Error::from(source)),
            None => error,
        }
    }

    pub(crate) fn config(message: &'static str) -> Self {
        Self {
            kind: ErrorKind::Config,
            message,
            source: None,
            retryable: false,
        }
    }

    pub(crate) fn unreachable(message: &'static str) -> Self {
        Self {
            kind: ErrorKind::Connection,
            message,
            source: None,
            retryable: true,
        }
    }

    fn late() -> Self {
        Self {
            kind: ErrorKind::Timeout,
            message: "no connection to the server within the connect timeout",
            source: None,
            retryable: true,
        }
    }

    /// Whether the server was given all the time that it gets: a dial that is repeated at once after this is no burden.
    pub(crate) fn is_late(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }

    fn broken(source: Option<io::ErrorKind>) -> Self {
        Self {
            kind: ErrorKind::Connection,
            message: "the connection broke during the login",
            source,
            retryable: true,
        }
    }

    fn server(message: &'static str) -> Self {
        Self {
            kind: ErrorKind::Server,
            message,
            source: None,
            retryable: true,
        }
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self {
            kind: ErrorKind::Connection,
            message: "the server could not be reached",
            source: Some(error.kind()),
            retryable: true,
        }
    }
}

impl From<NotSent> for DialError {
    fn from(_: NotSent) -> Self {
        Self::broken(None)
    }
}

/// Dials, within the connect timeout. The connection is driven by a task of the current runtime.
pub(crate) async fn dial(endpoint: &Endpoint) -> Result<Link, DialError> {
    let settings = &*endpoint.settings;
    let start = Instant::now();
    let attempt = async {
        match &endpoint.origin {
            Origin::At(address) => open(address, settings).await,
            Origin::Elected(sentinels) => {
                let link = open(&sentinels.primary().await?, settings).await?;
                is_primary(&link, settings).await?;
                Ok(link)
            }
        }
    };
    let dialled = timeout(settings.connect_timeout, attempt)
        .await
        .unwrap_or(Err(DialError::late()));
    let found = dialled.as_ref().map(Link::address);
    observe::dialled(
        endpoint,
        found.map_err(|error| (error.kind, error.message)),
        start.elapsed(),
    );
    dialled
}

async fn open(address: &Address, settings: &Settings) -> Result<Link, DialError> {
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            tune(&stream, settings.keepalive)?;
            #[cfg(feature = "tls")]
            if let Some(tls) = &settings.tls {
                let stream = tls
                    .connect(host, stream)
                    .await
                    .map_err(|error| handshake_failed(&error))?;
                return log_in(stream, address, settings).await;
            }
            log_in(stream, address, settings).await
        }
        Address::Unix(path) => log_in(UnixStream::connect(path).await?, address, settings).await,
    }
}

/// Sentinels that have not heard of a fail-over yet name a server that is a replica by now.
async fn is_primary(link: &Link, settings: &Settings) -> Result<(), DialError> {
    let role = ask(link, &redis::cmd("ROLE"), settings).await?;
    match &role {
        Value::Array(parts) if parts.first().and_then(text) == Some("master") => Ok(()),
        // A user need not have the right to ask; then READONLY is how a replica is told.
        Value::ServerError(_) => Ok(()),
        _ => Err(DialError::server(
            "the server that the Sentinels name is not the primary",
        )),
    }
}

#[cfg(feature = "tls")]
fn handshake_failed(error: &io::Error) -> DialError {
    match crate::tls::misconfigured(error) {
        Some(message) => DialError::config(message),
        None => DialError {
            kind: ErrorKind::Connection,
            message: "the TLS handshake with the server failed",
            source: Some(error.kind()),
            retryable: true,
        },
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

async fn log_in<S>(stream: S, address: &Address, settings: &Settings) -> Result<Link, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let link = Link {
        mux: Mux::new(stream, settings.max_in_flight.saturating_mul(UNANSWERED)),
        address: address.clone(),
        since: Instant::now(),
        confirmed: AtomicU64::new(0),
        _open: observe::count::Open::new(),
    };
    let introduced = introduce(&link, settings).await;
    #[cfg(feature = "tls")]
    if let (Err(_), Some(refusal)) = (&introduced, link.mux.refusal()) {
        return Err(DialError::config(refusal));
    }
    introduced?;
    Ok(link)
}

/// Within the dial, whose timeout covers it.
async fn ask<R: Request>(link: &Link, request: &R, settings: &Settings) -> Result<R::Answer, DialError> {
    let answer = link.mux.send(request, Instant::now() + settings.connect_timeout)?;
    match answer.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Lost::Broken { source, .. })) => Err(DialError::broken(source)),
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
async fn introduce(link: &Link, settings: &Settings) -> Result<(), DialError> {
    let mut request = Pipeline::new();
    let mut steps = Vec::with_capacity(5);
    if let Some(login) = &settings.login {
        request.cmd("AUTH");
        if let Some(user) = &login.user {
            request.arg(user);
        }
        request.arg(login.password.as_str());
        steps.push(Step::Login);
    }
    if settings.resp == RespVersion::Resp3 {
        // The login goes before it, and not into it: a server without HELLO quotes in its error what it was given.
        request.cmd("HELLO").arg(3);
        steps.push(Step::Protocol);
    }
    if settings.database != 0 {
        request.cmd("SELECT").arg(settings.database);
        steps.push(Step::Database);
    }
    if let Some(name) = &settings.client_name {
        request.cmd("CLIENT").arg("SETNAME").arg(name);
        steps.push(Step::Name);
    }
    request.cmd("PING");
    steps.push(Step::Ping);
    let replies = ask(link, &request, settings).await?;
    for (step, reply) in steps.into_iter().zip(&replies) {
        if let Value::ServerError(error) = reply {
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
