//! One request to one server, within its deadline.

use std::{pin::pin, sync::Arc, time::Duration};

use codex_traits::{Error, ErrorKind, Result};
use redis::{Arg, Cmd, Pipeline, RedisResult, ServerError, Value, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout_at};

use crate::{
    dial::{DialError, Link},
    endpoint::{Endpoint, Origin},
    error::{broken, refused},
    observe::{Named, RoundTrip},
    pool::Pools,
    sentinel::Sentinels,
    settings::Settings,
    slot::Slot,
};

/// A connection to a server that has become a replica is left only when it is at least this old: to a server that is one for good,
/// each write would dial otherwise.
const READ_ONLY_PATIENCE: Duration = Duration::from_secs(1);

/// The slowest transfer that is not taken for a standstill, in bytes per second: two thirds of a network of 100 Mbit/s.
const SLOWEST_TRANSFER: u64 = 8 << 20;

/// A server and the connections to it.
#[derive(Debug)]
pub(crate) struct Node {
    endpoint: Arc<Endpoint>,
    pools: Pools,
}

impl Node {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let endpoint = Arc::new(endpoint);
        Self {
            pools: Pools::new(Arc::clone(&endpoint)),
            endpoint,
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn settings(&self) -> &Settings {
        &self.endpoint.settings
    }

    /// Waits for a connection, and says why there is none as it is to be said to whoever made the settings.
    pub(crate) async fn connect(&self) -> Result<()> {
        let pool = self.pools.here("connect")?;
        pool.link().await.map_err(DialError::into_connect_error)?;
        Ok(())
    }

    /// Sends one command. An error that the server answers with is still in the reply.
    pub(crate) async fn command(&self, operation: &'static str, deadline: Instant, command: &Cmd) -> Result<Value> {
        self.request(
            operation,
            command,
            deadline,
            size(command),
            async |mut connection: MultiplexedConnection| connection.send_packed_command(command).await,
        )
        .await
    }

    /// Sends commands together. The errors that the server answers with are still in the replies.
    pub(crate) async fn pipeline(
        &self,
        operation: &'static str,
        deadline: Instant,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>> {
        // Of a transaction, the answers to MULTI and to each queued command come before the one to EXEC.
        let (skipped, expected) = if pipeline.is_transaction() {
            (pipeline.len() + 1, 1)
        } else {
            (0, pipeline.len())
        };
        let size = pipeline.cmd_iter().map(size).sum();
        let send = async |mut connection: MultiplexedConnection| {
            connection.send_packed_commands(pipeline, skipped, expected).await
        };
        self.request(operation, pipeline, deadline, size, send).await
    }

    async fn request<A, F>(
        &self,
        operation: &'static str,
        request: &dyn Named,
        deadline: Instant,
        size: u64,
        send: F,
    ) -> Result<A>
    where
        A: Answer,
        F: AsyncFnOnce(MultiplexedConnection) -> RedisResult<A>,
    {
        let mut seen = RoundTrip::begin(&self.endpoint, request);
        let answer = self.attempt(operation, &mut seen, deadline, size, send).await;
        seen.end(operation, &answer);
        answer
    }

    async fn attempt<A, F>(
        &self,
        operation: &'static str,
        seen: &mut RoundTrip<'_>,
        deadline: Instant,
        size: u64,
        send: F,
    ) -> Result<A>
    where
        A: Answer,
        F: AsyncFnOnce(MultiplexedConnection) -> RedisResult<A>,
    {
        let pool = self.pools.here(operation)?;
        let Ok(ready) = timeout_at(deadline, pool.link()).await else {
            return Err(no_connection(operation));
        };
        let (slot, link) = ready.map_err(|error| error.into_error(operation))?;
        if let Origin::Elected(sentinels) = &self.endpoint.origin
            && link.is_confirmation_due()
        {
            tokio::spawn(confirm(Arc::clone(sentinels), Arc::clone(slot), Arc::clone(&link)));
        }
        seen.sent_to(link.address());
        let answer = within(deadline, size, &link, send(link.connection())).await;
        let Some(answer) = answer else {
            if link.timed_out() >= self.settings().timeouts_before_redial {
                slot.evict(&link, "timeouts in a row");
            }
            return Err(Error::new(
                ErrorKind::Timeout,
                operation,
                "no answer within the deadline",
            ));
        };
        match answer {
            Ok(answer) => {
                link.answered();
                if answer.errors().any(|error| error.code() == "READONLY")
                    && link.since().elapsed() > READ_ONLY_PATIENCE
                {
                    slot.evict(&link, "the server is read-only");
                }
                Ok(answer)
            }
            Err(error) => {
                // A transaction's refusal comes this way.
                if let Some(first) = error.clone().into_server_errors().and_then(|all| all.first().cloned()) {
                    link.answered();
                    return Err(refused(operation, &first.1, true));
                }
                slot.evict(&link, "broken");
                Err(broken(operation, &error))
            }
        }
    }
}

/// A primary that was cut off from its Sentinels, but not from us, does not know that it is none any more.
async fn confirm(sentinels: Arc<Sentinels>, slot: Arc<Slot>, link: Arc<Link>) {
    if let Ok(address) = sentinels.primary().await
        && address != *link.address()
    {
        slot.evict(&link, "the Sentinels name another primary");
    }
}

/// The deadline passed before anything was sent.
pub(crate) fn no_connection(operation: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, operation, "no connection within the deadline").not_executed()
}

/// Waits until the deadline, and on for as long as the transfer accounts for: of the request, and of what moves over the
/// connection from now on. The latter may be another call's; answers come in the order of the requests, so ours is behind it.
async fn within<T>(deadline: Instant, size: u64, link: &Link, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    let before = link.moved();
    let mut accounted = size;
    loop {
        let transfer = Duration::from_millis(accounted.saturating_mul(1000) / SLOWEST_TRANSFER);
        if let Ok(answer) = timeout_at(deadline + transfer, &mut answer).await {
            return Some(answer);
        }
        let moved = link.moved() - before;
        if moved <= accounted {
            return None;
        }
        accounted = moved;
    }
}

/// Bytes of the arguments, which is what matters of a large request.
fn size(command: &Cmd) -> u64 {
    let length = |argument: Arg<&[u8]>| match argument {
        Arg::Simple(bytes) => bytes.len() as u64,
        _ => 0,
    };
    command.args_iter().map(length).sum()
}

/// One reply or several.
pub(crate) trait Answer {
    fn errors(&self) -> impl Iterator<Item = &ServerError>;
}

impl Answer for Value {
    fn errors(&self) -> impl Iterator<Item = &ServerError> {
        server_error(self).into_iter()
    }
}

impl Answer for Vec<Value> {
    fn errors(&self) -> impl Iterator<Item = &ServerError> {
        self.iter().filter_map(server_error)
    }
}

/// The error in a reply.
pub(crate) fn server_error(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}
