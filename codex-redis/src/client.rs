//! A handle's way to one server.

use std::sync::Arc;

use codex_traits::{Error, ErrorKind, Result};
use redis::{Cmd, Pipeline, Value};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use crate::{
    endpoint::Endpoint,
    node::{Answer, Node, no_connection},
    observe::count::Call,
    settings::Settings,
};

#[derive(Debug)]
pub(crate) struct Client {
    node: Node,
    turns: Turns,
}

impl Client {
    /// With a first connection, so that what is wrong with the settings is said here.
    pub(crate) async fn connect(endpoint: Endpoint) -> Result<Self> {
        let turns = Turns::new(Arc::clone(&endpoint.settings));
        let node = Node::new(endpoint);
        node.connect().await?;
        Ok(Self { node, turns })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.node.endpoint()
    }

    /// Sends one command. An error that the server answers with is still in the reply.
    pub(crate) async fn command(&self, operation: &'static str, command: &Cmd) -> Result<Value> {
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

/// How many calls of a handle may be under way, and until when each.
#[derive(Debug)]
pub(crate) struct Turns {
    settings: Arc<Settings>,
    permits: Semaphore,
}

impl Turns {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            permits: Semaphore::new(settings.max_in_flight),
            settings,
        }
    }

    /// Waits for a turn. The deadline of the call has begun when it does.
    pub(crate) async fn take(&self, operation: &'static str) -> Result<(Instant, Turn<'_>)> {
        let call = Call::begin(operation);
        let deadline = Instant::now() + self.settings.command_timeout;
        let turn = match self.permits.try_acquire() {
            Ok(turn) => turn,
            Err(_) => match timeout_at(deadline, self.permits.acquire()).await {
                Ok(Ok(turn)) => turn,
                // Nobody closes it.
                Ok(Err(_)) => {
                    return Err(Error::new(ErrorKind::Connection, operation, "the handle is closed").not_executed());
                }
                Err(_) => {
                    call.end_as("timeout");
                    return Err(no_connection(operation));
                }
            },
        };
        Ok((deadline, Turn { call, _permit: turn }))
    }
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
