//! The fixture's own connection to a server, which bypasses the backend under test.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{Client, Cmd, Connection, ConnectionAddr, ConnectionInfo, ConnectionLike as _, RedisResult, Value};

/// The deadline of each step. It is long enough for a loaded machine, and keeps a frozen server
/// from hanging a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A blocking connection, which is dialled on first use and again after it breaks.
pub(super) struct Raw {
    info: ConnectionInfo,
    connection: Mutex<Option<Connection>>,
}

impl Raw {
    pub(super) fn new(info: ConnectionInfo) -> Self {
        Self {
            info,
            connection: Mutex::new(None),
        }
    }

    /// Returns another connection to the same database.
    pub(super) fn another(&self) -> Self {
        Self::new(self.info.clone())
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    pub(super) fn address(&self) -> &ConnectionAddr {
        self.info.addr()
    }

    pub(super) fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> RedisResult<Value> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => dial(&self.info)?,
        };
        let mut command = Cmd::new();
        for part in parts {
            command.arg(part.as_ref());
        }
        let answer = command.query(&mut connection);
        // A broken connection is dropped, so that the next command dials again.
        if connection.is_open() {
            *slot = Some(connection);
        }
        answer
    }

    /// Drops the connection, for a server that is about to end.
    pub(super) fn disconnect(&self) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw")
    }
}

pub(super) fn dial(info: &ConnectionInfo) -> RedisResult<Connection> {
    let connection = Client::open(info.clone())?.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}
