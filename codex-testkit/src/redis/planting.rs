//! Data that the clauses write without the backend, and the memory that a server uses for its
//! connections.

use redis::RedisResult;

use super::{Database, Value};
use crate::Foreign;

/// Writes `foreign` with `command`, which takes the key and a command for the node that holds the
/// key. Returns whether it succeeded.
pub(super) fn plant(foreign: &Foreign, command: impl FnOnce(&[u8], &[&[u8]]) -> RedisResult<Value>) -> bool {
    let planted = match foreign {
        Foreign::List { key } => command(key.as_bytes(), &[b"RPUSH", key.as_bytes(), b"one", b"two"]),
        Foreign::NonUtf8Key { key } => command(key, &[b"SET", key, b"value"]),
    };
    planted.is_ok()
}

/// Returns whether the planted data is still there.
pub(super) fn is_planted(foreign: &Foreign, command: impl FnOnce(&[u8], &[&[u8]]) -> RedisResult<Value>) -> bool {
    let key = match foreign {
        Foreign::List { key } => key.as_bytes(),
        Foreign::NonUtf8Key { key } => key,
    };
    matches!(command(key, &[b"EXISTS", key]), Ok(Value::Int(1)))
}

/// Returns the total memory of the connections that `is_counted` accepts, from the answer to CLIENT
/// LIST. `None` for old servers, which do not report it.
pub(super) fn memory_of(clients: &Value, is_counted: impl Fn(&str) -> bool) -> Option<u64> {
    let Value::BulkString(clients) = clients else {
        return None;
    };
    let clients = std::str::from_utf8(clients).ok()?;
    let memory = clients.lines().filter(|line| is_counted(line)).map(|line| {
        let mut fields = line.split(' ');
        fields.find_map(|field| field.strip_prefix("tot-mem=")?.parse::<u64>().ok())
    });
    memory.sum()
}

impl Database {
    /// Writes `foreign` and returns whether it succeeded. Implements
    /// [`Harness::plant`](crate::Harness::plant) for any client.
    pub fn plant(&self, foreign: &Foreign) -> bool {
        plant(foreign, |_, command| self.command(command))
    }

    /// Returns whether the planted data is still there.
    pub fn is_planted(&self, foreign: &Foreign) -> bool {
        is_planted(foreign, |_, command| self.command(command))
    }

    /// Returns the memory that the server uses for the connections to this database, in bytes, if
    /// the server reports it. The rest of its memory is shared with other tests.
    pub fn memory_of_clients(&self) -> Option<u64> {
        let clients = self.command(&["CLIENT", "LIST"]).ok()?;
        let own = format!("db={}", self.number());
        memory_of(&clients, |line| line.split(' ').any(|field| field == own))
    }
}
