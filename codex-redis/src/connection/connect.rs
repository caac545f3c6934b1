//! Opening one connection: socket, driver, login.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{
    Pipeline, ServerError, Value,
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
    failure::{DialError, Lost},
    multiplexer::Mux,
};
use crate::{
    config::settings::{Address, RespVersion, Settings},
    observe,
    wire::request::Request,
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
    _open: observe::metrics::Open,
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

/// Opens a connection to this address and logs in. The connection is driven by a task of the current runtime.
pub(crate) async fn open(address: &Address, settings: &Settings) -> Result<Link, DialError> {
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
                return log_in(stream, address, settings).await;
            }
            log_in(stream, address, settings).await
        }
        #[cfg(unix)]
        Address::Unix(path) => log_in(tokio::net::UnixStream::connect(path).await?, address, settings).await,
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

async fn log_in<S>(stream: S, address: &Address, settings: &Settings) -> Result<Link, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let link = Link {
        mux: Mux::new(stream, settings.max_in_flight.saturating_mul(UNANSWERED)),
        address: address.clone(),
        since: Instant::now(),
        confirmed: AtomicU64::new(0),
        _open: observe::metrics::Open::new(),
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
pub(crate) async fn ask<R: Request>(link: &Link, request: &R, settings: &Settings) -> Result<R::Answer, DialError> {
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
    if let Some(source) = &settings.login {
        let login = source.login().await;
        let login = login.map_err(|_| DialError::unreachable("the credentials provider failed"))?;
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
