//! One request to one server, within its deadline.

use std::{sync::Arc, time::Duration};

use codex_traits::{Error, ErrorKind, Result};
use redis::{Pipeline, ServerError, Value};
use tokio::time::{Instant, timeout_at};

use crate::{
    config::settings::Settings,
    connection::multiplexer::LARGE,
    connection::{
        connect::Link,
        failure::{DialError, Lost, NotSent},
    },
    observe::RoundTrip,
    server::connection_cell::Slot,
    server::locate::{Endpoint, Origin},
    server::pool::Pools,
    server::sentinel::Sentinels,
    wire::error::{broken, refused},
    wire::request::Request,
};

/// A connection to a server that has become a replica is left only when it is at least this old: to a server that is one for good,
/// each write would dial otherwise.
const READ_ONLY_PATIENCE: Duration = Duration::from_secs(1);

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
        pool.link(false).await.map_err(DialError::into_connect_error)?;
        Ok(())
    }

    /// Sends one command. An error that the server answers with is still in the reply.
    pub(crate) async fn command<R>(&self, operation: &'static str, deadline: Instant, command: &R) -> Result<Value>
    where
        R: Request<Answer = Value>,
    {
        self.request(operation, deadline, command).await
    }

    /// Sends commands together. The errors that the server answers with are still in the replies; of a transaction there is one
    /// reply, the one to EXEC.
    pub(crate) async fn pipeline(
        &self,
        operation: &'static str,
        deadline: Instant,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>> {
        let mut replies = self.request(operation, deadline, pipeline).await?;
        if pipeline.is_transaction() {
            // That of EXEC only says that there was another.
            if let Some(error) = replies.iter().find_map(server_error) {
                return Err(refused(operation, error, true));
            }
            replies.drain(..replies.len() - 1);
        }
        Ok(replies)
    }

    async fn request<R>(&self, operation: &'static str, deadline: Instant, request: &R) -> Result<R::Answer>
    where
        R: Request<Answer: Answer>,
    {
        let mut seen = RoundTrip::begin(&self.endpoint, request);
        let answer = self.attempt(operation, &mut seen, deadline, request).await;
        seen.end(operation, &answer);
        answer
    }

    async fn attempt<R>(
        &self,
        operation: &'static str,
        seen: &mut RoundTrip<'_>,
        deadline: Instant,
        request: &R,
    ) -> Result<R::Answer>
    where
        R: Request<Answer: Answer>,
    {
        let pool = self.pools.here(operation)?;
        let is_large = request.size() > LARGE;
        let mut place = pool.ready(is_large);
        let (slot, link, answer) = loop {
            let (slot, link) = match place.take() {
                Some(place) => place,
                None => match timeout_at(deadline, pool.link(is_large)).await {
                    Ok(place) => place.map_err(|error| error.into_error(operation))?,
                    Err(_) => return Err(no_connection(operation)),
                },
            };
            match link.mux().send(request, deadline) {
                Ok(answer) => break (slot, link, answer),
                // Since it was looked at. Nothing was sent, so another one will do.
                Err(NotSent::Closed) if Instant::now() < deadline => {}
                Err(NotSent::Closed) => return Err(no_connection(operation)),
                Err(NotSent::Full) => return Err(too_many(operation)),
            }
        };
        if let Origin::Elected(sentinels) = &self.endpoint.origin
            && link.is_confirmation_due()
        {
            tokio::spawn(confirm(Arc::clone(sentinels), Arc::clone(slot), Arc::clone(&link)));
        }
        seen.sent_to(link.address());
        let answer = answer.await;
        match answer {
            Ok(Ok(answer)) => {
                if answer.errors().any(|error| error.code() == "READONLY")
                    && link.since().elapsed() > READ_ONLY_PATIENCE
                {
                    slot.evict(&link, "the server is read-only");
                }
                Ok(answer)
            }
            Ok(Err(Lost::Late)) => {
                if link.mux().timeouts() >= self.settings().timeouts_before_redial {
                    pool.leave_frozen(slot, &link);
                }
                Err(Error::new(
                    ErrorKind::Timeout,
                    operation,
                    "no answer within the deadline",
                ))
            }
            Ok(Err(Lost::Broken { sent, source })) => {
                slot.evict(&link, "broken");
                Err(broken(operation, sent, source))
            }
            // The driver tells whom it leaves, so this does not come to pass.
            Err(_) => {
                slot.evict(&link, "broken");
                Err(broken(operation, true, None))
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

/// So many requests wait for replies that no more is taken; the connection will be left as soon as their deadlines pass.
fn too_many(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::Connection,
        operation,
        "the connection has too many requests without an answer",
    )
    .not_executed()
    .retryable()
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
