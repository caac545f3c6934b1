//! Data that the clauses write past the backend.

use super::{Database, Value};
use crate::Foreign;

impl Database {
    /// Writes `foreign`, and answers whether it could: [`Harness::plant`](crate::Harness::plant) of
    /// any client.
    pub fn plant(&self, foreign: &Foreign) -> bool {
        let planted = match foreign {
            Foreign::List { key } => self.command(&["RPUSH", key, "one", "two"]),
            Foreign::NonUtf8Key { key } => self.command(&[b"SET", key.as_slice(), b"value"]),
        };
        planted.is_ok()
    }

    /// Returns whether what was planted is still there.
    pub fn is_planted(&self, foreign: &Foreign) -> bool {
        let key = match foreign {
            Foreign::List { key } => key.as_bytes(),
            Foreign::NonUtf8Key { key } => key,
        };
        matches!(self.command(&[b"EXISTS", key]), Ok(Value::Int(1)))
    }

    /// Returns how many bytes the server keeps for the connections to this database, if it tells.
    /// All else that it keeps is other tests' too.
    pub fn memory_of_clients(&self) -> Option<u64> {
        let Value::BulkString(clients) = self.command(&["CLIENT", "LIST"]).ok()? else {
            return None;
        };
        let clients = String::from_utf8(clients).ok()?;
        let own = format!("db={}", self.number());
        let of_own = clients.lines().filter(|line| line.split(' ').any(|field| field == own));
        let memory = of_own.map(|line| {
            let mut fields = line.split(' ');
            fields.find_map(|field| field.strip_prefix("tot-mem=")?.parse::<u64>().ok())
        });
        // Old servers do not tell it.
        memory.sum()
    }
}
