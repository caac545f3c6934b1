//! A handle's way to one server.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use codex_traits::{Error, ErrorKind, Result};
use redis::{Pipeline, Value};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use crate::{
    config::settings::Settings,
    observe::{kind_name, metrics::Call},
    server::locate::Endpoint,
    server::server::{Answer, Node, no_connection},
    wire::request::Request,
};

#[derive(Debug)]
pub(crate) struct Client {
    node: Node,
    turns: Turns,
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            turns: Turns::new(Arc::clone(&endpoint.settings)),
            node: Node::new(endpoint),
        }
    }

    /// Makes a first connection.
    pub(crate) async fn connect(&self) -> Result<()> {
        self.node.connect().await
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.node.endpoint()
    }

    /// Sends one command. An error that the server answers with is still in the reply.
    pub(crate) async fn command<R>(&self, operation: &'static str, command: &R) -> Result<Value>
    where
        R: Request<Answer = Value>,
    {
        let (deadline, turn) = self.turns.take(operation).await?;
        turn.end(self.node.command(operation, deadline, command).await)
    }

    /// Sends commands together. The errors that the server answers with are still in the replies.
    pub(crate) async fn pipeline(&self, operation: &'static str, pipeline: &Pipeline) -> Result<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let (deadline, turn) = self.turns.take(operation).await?;
        turn.end(self.node.pipeline(operation, deadline, pipeline).await)
    }
}

/// How many calls of a handle may be under way, how many more may wait for that, and until when each.
#[derive(Debug)]
pub(crate) struct Turns {
    settings: Arc<Settings>,
    permits: Semaphore,
    waiting: AtomicUsize,
}

impl Turns {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            permits: Semaphore::new(settings.max_in_flight),
            settings,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for a turn, or fails at once where too many do. The deadline of the call has begun when it does.
    pub(crate) async fn take(&self, operation: &'static str) -> Result<(Instant, Turn<'_>)> {
        let call = Call::begin(operation);
        let deadline = Instant::now() + self.settings.command_timeout;
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match self.wait(operation, deadline).await {
                Ok(permit) => permit,
                Err(error) => {
                    call.end_as(kind_name(error.kind()));
                    return Err(error);
                }
            },
        };
        let turn = Turn { call, _permit: permit };
        Ok((deadline, turn))
    }

    #[cold]
    async fn wait(&self, operation: &'static str, deadline: Instant) -> Result<SemaphorePermit<'_>> {
        let _waiter = Waiter::new(&self.waiting);
        if self.waiting.load(Ordering::Relaxed) > self.settings.max_waiting {
            return Err(overloaded(operation));
        }
        match timeout_at(deadline, self.permits.acquire()).await {
            // Those who had a turn had it until their deadline, and that was ours too.
            Ok(Ok(_)) if deadline <= Instant::now() => Err(no_connection(operation)),
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes it.
            Ok(Err(_)) => Err(Error::new(ErrorKind::Connection, operation, "the handle is closed").not_executed()),
            Err(_) => Err(no_connection(operation)),
        }
    }
}

/// Counted while it waits, also where it is dropped.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// To wait as well would only make it later for all.
fn overloaded(operation: &'static str) -> Error {
    Error::new(ErrorKind::Connection, operation, "too many calls wait for the server")
        .not_executed()
        .retryable()
}

/// Held while a call is under way.
pub(crate) struct Turn<'a> {
    call: Call,
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// The call is over, with this.
    pub(crate) fn end<A: Answer>(self, answer: Result<A>) -> Result<A> {
        self.call.end(&answer);
        answer
    }
}
