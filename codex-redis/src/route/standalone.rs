//! One server, at a fixed address or at the address that Sentinels name.

use std::{fmt, sync::Arc};

use redis::Value;

use crate::{
    config::settings::{Address, Settings},
    connection::multiplexer::Deadline,
    server::{Server, sentinel::Sentinels},
    wire::{Command, Failure, Request, reply::Replies},
};

pub(crate) enum Standalone {
    Fixed(Arc<Server<Address>>),
    Elected(Arc<Server<Sentinels>>),
}

impl Standalone {
    pub(crate) fn fixed(address: Address, settings: Arc<Settings>) -> Self {
        Self::Fixed(Arc::new(Server::new(address, settings)))
    }

    pub(crate) fn elected(sentinels: Sentinels, settings: Arc<Settings>) -> Self {
        Self::Elected(Arc::new(Server::new(sentinels, settings)))
    }

    /// Opens the first connection, which reveals mistakes in the settings.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        match self {
            Self::Fixed(server) => server.connect().await,
            Self::Elected(server) => server.connect().await,
        }
    }

    /// Sends one command. Returns an error of the server as a reply.
    pub(crate) async fn command(&self, deadline: Deadline, command: &Command<'_>) -> Result<Value, Failure> {
        match self {
            Self::Fixed(server) => server.command(deadline, command).await,
            Self::Elected(server) => Box::pin(server.command(deadline, command)).await,
        }
    }

    /// Sends commands together, if there are any. Returns errors of the server as replies.
    pub(crate) async fn all(&self, deadline: Deadline, commands: &[Command<'_>]) -> Result<Vec<Value>, Failure> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.request(deadline, Request::all(commands)).await?.into_vec())
    }

    /// Sends commands as a transaction, and returns their replies.
    pub(crate) async fn transaction(
        &self,
        deadline: Deadline,
        commands: &[Command<'_>],
    ) -> Result<Vec<Value>, Failure> {
        let replies = self.request(deadline, Request::transaction(commands)).await?;
        replies.executed(commands.len())
    }

    /// Sends a request. Returns errors of the server as replies.
    pub(crate) async fn request(&self, deadline: Deadline, request: Request<'_, '_>) -> Result<Replies, Failure> {
        match self {
            Self::Fixed(server) => server.request(deadline, request).await,
            Self::Elected(server) => server.request(deadline, request).await,
        }
    }
}

impl fmt::Debug for Standalone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(server) => server.place().fmt(f),
            Self::Elected(server) => server.place().fmt(f),
        }
    }
}
