//! Data that the clauses write past the backend, and what a server says of its connections.

use redis::RedisResult;

use super::{Database, Value};
use crate::Foreign;

/// Writes `foreign` by `command`, which is given the key and a command to run where the key is.
/// Returns whether it could.
pub(super) fn plant(foreign: &Foreign, command: impl FnOnce(&[u8], &[&[u8]]) -> RedisResult<Value>) -> bool {
    let planted = match foreign {
        Foreign::List { key } => command(key.as_bytes(), &[b"RPUSH", key.as_bytes(), b"one", b"two"]),
        Foreign::NonUtf8Key { key } => command(key, &[b"SET", key, b"value"]),
    };
    planted.is_ok()
}

/// Returns whether what was planted is still there.
pub(super) fn is_planted(foreign: &Foreign, command: impl FnOnce(&[u8], &[&[u8]]) -> RedisResult<Value>) -> bool {
    let key = match foreign {
        Foreign::List { key } => key.as_bytes(),
        Foreign::NonUtf8Key { key } => key,
    };
    matches!(command(key, &[b"EXISTS", key]), Ok(Value::Int(1)))
}

/// Returns the sum of the memory of the connections that `is_counted` accepts, from the answer to
/// CLIENT LIST. Old servers do not tell it.
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
    /// Writes `foreign`, and answers whether it could: [`Harness::plant`](crate::Harness::plant) of
    /// any client.
    pub fn plant(&self, foreign: &Foreign) -> bool {
        plant(foreign, |_, command| self.command(command))
    }

    /// Returns whether what was planted is still there.
    pub fn is_planted(&self, foreign: &Foreign) -> bool {
        is_planted(foreign, |_, command| self.command(command))
    }

    /// Returns how many bytes the server keeps for the connections to this database, if it tells.
    /// All else that it keeps is other tests' too.
    pub fn memory_of_clients(&self) -> Option<u64> {
        let clients = self.command(&["CLIENT", "LIST"]).ok()?;
        let own = format!("db={}", self.number());
        memory_of(&clients, |line| line.split(' ').any(|field| field == own))
    }
}
