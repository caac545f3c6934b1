//! One request to one server, within its deadline.

use std::{sync::Arc, time::Duration};

use codex_traits::ErrorKind;
use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    PerRuntime,
    connection_cell::ConnectionCell,
    locate::{Endpoint, Locate},
    pool::Pool,
};
use crate::{
    config::settings::Settings,
    connection::{
        connect::Connection,
        failure::{DialError, End, Lost, NotSent},
        multiplexer::{Deadline, LARGE},
    },
    observe::{self, RoundTrip},
    wire::{
        Command, Failure, Request,
        error::{known_code, server_error},
        reply::Replies,
    },
};

/// A connection to a server that has become a replica is left only if it is at least this old: to a
/// server that is one for good, each write would dial otherwise.
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
            endpoint: Arc::new(Endpoint { place, settings }),
            pools: PerRuntime::new(),
        }
    }

    pub(crate) fn place(&self) -> &L {
        &self.endpoint.place
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.endpoint.settings
    }

    /// The connections of the current runtime.
    fn pool(&self) -> Result<Arc<Pool<L>>, Failure> {
        self.pools
            .here(|| Pool::new(Arc::clone(&self.endpoint)), Pool::is_alive)
    }

    /// Waits for a connection, and says why there is none as whoever made the settings is to be
    /// told.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        let pool = self.pool()?;
        pool.connection(false).await.map_err(DialError::into_connect_failure)?;
        Ok(())
    }

    /// Sends one command. An error that the server answers with is in the reply.
    pub(crate) async fn command(&self, deadline: Deadline, command: &Command<'_>) -> Result<Value, Failure> {
        self.request(deadline, Request::one(command)).await?.one()
    }

    /// Sends commands together. Errors that the server answers with are in the replies.
    pub(crate) async fn request(&self, deadline: Deadline, request: Request<'_, '_>) -> Result<Replies, Failure> {
        let (name, commands) = request.name();
        let mut seen = RoundTrip::begin(self.settings().database, name, commands);
        if let Some(address) = self.place().fixed() {
            seen.address(|| address.parts());
        }
        let answer = self.attempts(&mut seen, deadline, &request).await;
        let (error, code) = match &answer {
            Err(failure) => (Some(failure.outcome()), None),
            Ok(replies) => {
                let refusal = replies.as_slice().iter().find_map(server_error);
                let code = refusal.map(|error| known_code(error.code()));
                (code, code)
            }
        };
        seen.end(deadline.verb, error, code, self.settings().slow_command, self.place());
        answer
    }

    /// Sends a request, and again if it changes nothing and the connection proves closed: then the
    /// server or a firewall has closed it while it was idle, or while the process was suspended.
    async fn attempts(
        &self,
        seen: &mut RoundTrip,
        deadline: Deadline,
        request: &Request<'_, '_>,
    ) -> Result<Replies, Failure> {
        let pool = self.pool()?;
        match self.attempt(&pool, seen, deadline, request).await? {
            Ok(replies) => Ok(replies),
            Err(lost) if lost.is_closed_before_the_reply() && request.is_read() => {
                observe::sent_again(deadline.verb, "connection closed");
                // They are as old, and likely to be closed too.
                pool.leave_idle("idle beside one that was closed");
                match Box::pin(self.attempt(&pool, seen, deadline, request)).await {
                    Ok(answer) => Ok(answer?),
                    // The reason for the loss says more than that there was no time to dial.
                    Err(failure) if failure.kind() == ErrorKind::Timeout => Err(lost.into()),
                    Err(failure) => Err(failure),
                }
            }
            Err(lost) => Err(lost.into()),
        }
    }

    async fn attempt(
        &self,
        pool: &Pool<L>,
        seen: &mut RoundTrip,
        deadline: Deadline,
        request: &Request<'_, '_>,
    ) -> Result<Result<Replies, Lost>, Failure> {
        let is_large = request.size() > LARGE;
        let mut ready = pool.ready(is_large);
        let (cell, connection, answer) = loop {
            let (cell, connection) = match ready.take() {
                Some(place) => place,
                // Boxed, as everything that is seldom needed: the future of each call would have
                // the room for it.
                None => match Box::pin(timeout_at(deadline.at, pool.connection(is_large))).await {
                    Ok(place) => place.map_err(DialError::into_failure)?,
                    Err(_) => return Err(no_connection()),
                },
            };
            let mut room = None;
            if is_large {
                let wait = Box::pin(connection.multiplexer().room(request.size(), deadline));
                room = Some(wait.await.ok_or_else(too_much)?);
            }
            match connection.multiplexer().send(request, room, deadline) {
                Ok(answer) => break (cell, connection, answer),
                // Since it was looked at. Nothing was sent, so another one will do.
                Err(NotSent::Closed) if Instant::now() < deadline.at => {}
                Err(NotSent::Closed) => return Err(no_connection()),
                Err(NotSent::Full) => return Err(too_many()),
            }
        };
        if self.place().fixed().is_none() {
            seen.address(|| connection.address().parts());
            if connection.is_confirmation_due() {
                let (endpoint, cell) = (Arc::clone(&self.endpoint), Arc::clone(cell));
                tokio::spawn(confirm(endpoint, cell, Arc::clone(&connection)));
            }
        }
        seen.sent();
        // The reader tells all calls that it leaves, so there is always an answer.
        let lost = Lost::Broken {
            is_sent: true,
            is_begun: true,
            end: End::Stopped,
        };
        match answer.await.unwrap_or(Err(lost)) {
            Ok(answer) => {
                let replies = answer.into_replies();
                if is_read_only(&replies) && connection.since().elapsed() > READ_ONLY_PATIENCE {
                    cell.evict(&connection, "the server is read-only");
                }
                Ok(Ok(replies))
            }
            Err(lost) => Ok(Err(lost)),
        }
    }
}

fn is_read_only(replies: &Replies) -> bool {
    let mut errors = replies.as_slice().iter().filter_map(server_error);
    errors.any(|error| error.code() == "READONLY")
}

/// A primary that was cut off from its Sentinels, but not from us, may not know that it was
/// demoted.
async fn confirm<L: Locate>(endpoint: Arc<Endpoint<L>>, cell: Arc<ConnectionCell>, connection: Arc<Connection>) {
    if let Ok(address) = endpoint.place.locate().await
        && address != *connection.address()
    {
        cell.evict(&connection, "the Sentinels name another primary");
    }
}

/// The deadline passed before anything was sent.
pub(crate) fn no_connection() -> Failure {
    Failure::new(ErrorKind::Timeout, "no connection within the deadline").not_executed()
}

/// The connection will be left as soon as the deadlines of its requests have passed.
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
