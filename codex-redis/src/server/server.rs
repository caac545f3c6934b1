//! One request to one server, within its deadline.

use std::{sync::Arc, time::Duration};

use codex_traits::ErrorKind;
use redis::Value;
use tokio::{
    runtime::Id,
    sync::oneshot::error::RecvError,
    time::{Instant, timeout_at},
};

use super::{
    Here, PerRuntime, Timing,
    connection_cell::ConnectionCell,
    current_runtime,
    locate::{Endpoint, Locate, Stalls},
    pool::{self, Pool, Sent},
};
use crate::{
    config::settings::Settings,
    connection::{
        connect::Connection,
        failure::{DialError, End, Lost, NotSent},
        multiplexer::{Answer, Deadline, LARGE},
    },
    observe::{self, Outcome, RoundTrip, Slow},
    wire::{
        Command, Failure, Request,
        error::{known_code, server_error},
        reply::Replies,
    },
};

/// A connection to a server that has become a replica is evicted only if it is at least this old.
/// Otherwise each write to a permanent replica would dial.
const READ_ONLY_PATIENCE: Duration = Duration::from_secs(1);

/// A server and the connections to it.
#[derive(Debug)]
pub(crate) struct Server<L> {
    endpoint: Arc<Endpoint<L>>,
    pools: PerRuntime<Pool<L>>,
}

impl<L: Locate> Server<L> {
    pub(crate) fn new(place: L, settings: Arc<Settings>) -> Self {
        Self {
            endpoint: Arc::new(Endpoint::new(place, settings)),
            pools: PerRuntime::new(),
        }
    }

    pub(crate) fn place(&self) -> &L {
        &self.endpoint.place
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.endpoint.settings
    }

    pub(super) fn stalls(&self) -> &Stalls {
        self.endpoint.stalls()
    }

    /// Returns the connections of the current runtime.
    fn pool(&self) -> Result<Here<'_, Pool<L>>, Failure> {
        Ok(self.pool_of(current_runtime()?))
    }

    fn pool_of(&self, runtime: Id) -> Here<'_, Pool<L>> {
        self.pools
            .of(runtime, || Pool::new(Arc::clone(&self.endpoint)), Pool::is_alive)
    }

    /// Waits for a connection. A failure has the kind for the call that builds a handle.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        self.dialled().await?.map_err(DialError::into_connect_failure)
    }

    /// Waits for a connection. Returns the reason of a failed dial.
    pub(super) async fn dialled(&self) -> Result<Result<(), DialError>, Failure> {
        let pool = self.pool()?;
        Ok(pool.connection(false).await.map(drop))
    }

    /// Sends one command. Returns an error of the server as a reply.
    pub(crate) async fn command(&self, deadline: Deadline, command: &Command<'_>) -> Result<Value, Failure> {
        self.request(deadline, Request::one(command)).await?.one()
    }

    /// Sends commands together. Returns errors of the server as replies.
    pub(crate) async fn request(&self, deadline: Deadline, request: Request<'_, '_>) -> Result<Replies, Failure> {
        self.request_from(&Timing::waited(deadline), request).await
    }

    /// Sends commands together. Returns errors of the server as replies.
    ///
    /// The usual case, a small request on a ready connection, is all in this function, because each
    /// function in between would move the replies once more. Everything else is boxed, because it
    /// would enlarge the future of each call.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice in its future"
    )]
    pub(crate) fn request_from(
        &self,
        timing: &Timing,
        request: Request<'_, '_>,
    ) -> impl Future<Output = Result<Replies, Failure>> + Send {
        async move {
            let pool = match timing.start {
                Some(start) => self.pool_of(start.runtime),
                None => self.pool()?,
            };
            let mut seen = RoundTrip::begin(self.settings().database, || request.name());
            if let Some(address) = self.place().fixed() {
                seen.address(|| address.parts());
            }
            let (sent, sent_at) = match self.send_now(&pool, &seen, timing.deadline, &request) {
                Some(sent) => (Ok(sent), timing.start.map(|start| start.at)),
                None => (
                    Box::pin(self.send_when_ready(&pool, &seen, timing.deadline, &request, false)).await,
                    None,
                ),
            };
            let answer = match sent {
                Ok(sent) => {
                    seen.sent(sent_at.unwrap_or_else(Instant::now));
                    let (cell, connection) = (sent.cell, sent.connection);
                    match sent.answer.await {
                        Ok(Ok(answer)) => {
                            seen.answered(answer.at());
                            let replies = answer.into_replies();
                            if !replies.has_error() {
                                seen.end(
                                    timing.deadline.verb,
                                    Outcome::default(),
                                    || request.name(),
                                    &self.slow(),
                                );
                                return Ok(replies);
                            }
                            look_at_errors(cell, connection, &request, &replies);
                            Ok(replies)
                        }
                        lost => Box::pin(self.again(&pool, &mut seen, timing.deadline, &request, lost_of(&lost))).await,
                    }
                }
                Err(failure) => Err(failure),
            };
            let outcome = outcome(&answer);
            seen.end(timing.deadline.verb, outcome, || request.name(), &self.slow());
            answer
        }
    }

    pub(super) fn slow(&self) -> Slow<'_> {
        Slow {
            above: self.settings().slow_command,
            database: self.settings().database,
            server: self.place(),
        }
    }

    /// Sends a small request if a connection is ready for it.
    fn send_now<'p>(
        &self,
        pool: &'p Pool<L>,
        seen: &RoundTrip,
        deadline: Deadline,
        request: &Request<'_, '_>,
    ) -> Option<Sent<'p>> {
        if request.size() > LARGE {
            return None;
        }
        // If no connection took the request, `send_when_ready` determines the reason again.
        pool.send_small(request, deadline, |cell, connection| {
            self.sent_on(cell, connection, seen);
        })?
        .ok()
    }

    /// Sends a request again if it changes nothing and the connection proved closed. The server or
    /// a firewall closed the connection while it was idle, or while the process was suspended.
    async fn again(
        &self,
        pool: &Pool<L>,
        seen: &mut RoundTrip,
        deadline: Deadline,
        request: &Request<'_, '_>,
        lost: Lost,
    ) -> Result<Replies, Failure> {
        if !lost.is_closed_before_the_reply() || !request.is_read() {
            return Err(lost.into());
        }
        observe::sent_again(deadline.verb, "connection closed");
        // The idle connections are as old, and likely to be closed too.
        pool.leave_idle("idle beside one that was closed");
        let sent = match self.send_when_ready(pool, seen, deadline, request, false).await {
            Ok(sent) => sent,
            // The reason for the loss says more than a timeout while dialling.
            Err(failure) if failure.kind() == ErrorKind::Timeout => return Err(lost.into()),
            Err(failure) => return Err(failure),
        };
        replies_to(sent, request, seen).await
    }

    /// Sends a small write over the connection that large requests prefer.
    ///
    /// A server that holds writes back (`CLIENT PAUSE WRITE`, a manual fail-over) answers no later
    /// request of that connection either. Small reads prefer another connection.
    pub(super) async fn write_aside(&self, deadline: Deadline, request: Request<'_, '_>) -> Result<Replies, Failure> {
        let pool = self.pool()?;
        let mut seen = RoundTrip::begin(self.settings().database, || request.name());
        let answer = match self.send_when_ready(&pool, &seen, deadline, &request, true).await {
            Ok(sent) => replies_to(sent, &request, &mut seen).await,
            Err(failure) => Err(failure),
        };
        let outcome = outcome(&answer);
        seen.end(deadline.verb, outcome, || request.name(), &self.slow());
        answer
    }

    /// Sends a request that is large, that goes `aside` as if it were, or that has to wait for a
    /// connection.
    async fn send_when_ready<'p>(
        &self,
        pool: &'p Pool<L>,
        seen: &RoundTrip,
        deadline: Deadline,
        request: &Request<'_, '_>,
        aside: bool,
    ) -> Result<Sent<'p>, Failure> {
        let is_large = request.size() > LARGE;
        let mut ready = pool.ready(is_large || aside);
        loop {
            let (cell, connection) = match ready.take() {
                Some(place) => place,
                None => match timeout_at(deadline.at, pool.connection(is_large || aside)).await {
                    Ok(place) => place.map_err(DialError::into_failure)?,
                    Err(_) => return Err(no_connection()),
                },
            };
            let mut room = None;
            if is_large {
                let wait = connection.multiplexer().room(request.size(), deadline);
                room = Some(wait.await.ok_or_else(too_much)?);
            }
            match pool::send(cell, &connection, request, room, deadline) {
                Ok(sent) => {
                    self.sent_on(cell, &connection, seen);
                    return Ok(sent);
                }
                // The connection closed after it was chosen. Nothing was sent, so another
                // connection will do.
                Err(NotSent::Closed) if Instant::now() < deadline.at => {}
                Err(NotSent::Closed) => return Err(no_connection()),
                Err(NotSent::Full) => return Err(too_many()),
            }
        }
    }

    /// Records that a request was sent on this connection, and starts to confirm the primary if
    /// that is due.
    fn sent_on(&self, cell: &Arc<ConnectionCell>, connection: &Arc<Connection>, seen: &RoundTrip) {
        if self.place().fixed().is_some() {
            return;
        }
        seen.address(|| connection.address().parts());
        if connection.is_confirmation_due() {
            let (endpoint, cell) = (Arc::clone(&self.endpoint), Arc::clone(cell));
            tokio::spawn(confirm(endpoint, cell, Arc::clone(connection)));
        }
    }
}

/// Waits for the answer to a request that was sent just now.
async fn replies_to(sent: Sent<'_>, request: &Request<'_, '_>, seen: &mut RoundTrip) -> Result<Replies, Failure> {
    seen.sent(Instant::now());
    match sent.answer.await {
        Ok(Ok(answer)) => {
            seen.answered(answer.at());
            let replies = answer.into_replies();
            look_at_errors(sent.cell, sent.connection, request, &replies);
            Ok(replies)
        }
        lost => Err(lost_of(&lost).into()),
    }
}

/// Returns the outcome to record for an answer.
fn outcome(answer: &Result<Replies, Failure>) -> Outcome {
    match answer {
        Err(failure) => failed(failure),
        Ok(replies) => answered(replies),
    }
}

pub(super) fn failed(failure: &Failure) -> Outcome {
    Outcome {
        error: Some(failure.outcome()),
        code: None,
    }
}

pub(super) fn answered(replies: &Replies) -> Outcome {
    let refusal = replies.as_slice().iter().find_map(server_error);
    let code = refusal.map(|error| known_code(error.code()));
    Outcome { error: code, code }
}

/// Returns the reason why there is no answer.
fn lost_of(answer: &Result<Result<Answer, Lost>, RecvError>) -> Lost {
    match answer {
        Ok(Err(lost)) => *lost,
        // The end of a connection notifies all its calls, so there is always an answer.
        Ok(Ok(_)) | Err(_) => Lost::Broken {
            is_sent: true,
            is_begun: true,
            end: End::Stopped,
        },
    }
}

/// Evicts a connection that is of no more use, as these replies show.
#[cold]
fn look_at_errors(cell: &ConnectionCell, connection: u64, request: &Request<'_, '_>, replies: &Replies) {
    if is_read_only(replies) {
        cell.evict_older(connection, READ_ONLY_PATIENCE, "the server is read-only");
    }
    if request.is_transaction() && replies.leave_it_open() {
        // Every later command would be queued and never run.
        cell.evict(connection, "the server does not end transactions");
    }
}

fn is_read_only(replies: &Replies) -> bool {
    let mut errors = replies.as_slice().iter().filter_map(server_error);
    errors.any(|error| error.code() == "READONLY")
}

/// Asks the Sentinels again: a primary that was cut off from its Sentinels, but not from us, may
/// not know that it was demoted.
async fn confirm<L: Locate>(endpoint: Arc<Endpoint<L>>, cell: Arc<ConnectionCell>, connection: Arc<Connection>) {
    if let Ok(address) = endpoint.place.locate().await
        && address != *connection.address()
    {
        cell.evict(connection.id(), "the Sentinels name another primary");
    }
}

/// Returns the failure of a call whose deadline passed before anything was sent.
pub(crate) fn no_connection() -> Failure {
    Failure::new(ErrorKind::Timeout, "no connection within the deadline").not_executed()
}

/// Returns the failure of a call on a full connection, which is closed as soon as the deadlines of
/// its requests have passed.
fn too_many() -> Failure {
    Failure::new(
        ErrorKind::Connection,
        "the connection has too many requests without an answer",
    )
    .not_executed()
    .retryable()
}

fn too_much() -> Failure {
    Failure::new(
        ErrorKind::Timeout,
        "the connection has too many large requests to write within the deadline",
    )
    .not_executed()
}
