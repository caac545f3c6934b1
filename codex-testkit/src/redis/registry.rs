//! The databases that a harness has handed out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{cleaning::Cleaning, raw::Raw};
use crate::runtime::sleep;

/// The time that the tasks of a finished clause have to drop their handles.
const PATIENCE: Duration = Duration::from_secs(2);

/// The databases of a harness that are in use, and the databases that could not be emptied.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    in_use: BTreeMap<u32, (Raw, Cleaning)>,
    /// The databases that are still held by clauses that were given up.
    given_up: BTreeSet<u32>,
    left_behind: Vec<String>,
}

impl Entries {
    /// Returns whether a clause that was not given up before still holds a database.
    fn awaits_any(&self) -> bool {
        self.in_use.keys().any(|number| !self.given_up.contains(number))
    }
}

impl Registry {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, number: u32, raw: Raw, cleaning: Cleaning) {
        self.entries().in_use.insert(number, (raw, cleaning));
    }

    /// Records that a database was returned, emptied or not.
    pub(super) fn release(&self, number: u32, cleaned: Result<(), String>) {
        let mut entries = self.entries();
        entries.in_use.remove(&number);
        entries.given_up.remove(&number);
        if let Err(reason) = cleaned {
            entries.left_behind.push(left_behind(number, &reason));
        }
    }

    /// Gives a finished clause time to return its databases, and empties the databases that it
    /// still holds.
    ///
    /// # Errors
    ///
    /// A text with each database that could not be emptied since the last call, and the reason.
    pub(super) async fn settle(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.entries().awaits_any() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let mut guard = self.entries();
        let entries = &mut *guard;
        entries.given_up.extend(entries.in_use.keys());
        // The clause was given up and may still write, so the database is not leased again.
        let held: Vec<(u32, Result<(), String>)> = entries
            .in_use
            .iter()
            .map(|(number, (raw, cleaning))| (*number, cleaning.clean(raw)))
            .collect();
        for (number, cleaned) in held {
            if let Err(reason) = cleaned {
                entries.left_behind.push(left_behind(number, &reason));
            }
        }
        if entries.left_behind.is_empty() {
            return Ok(());
        }
        Err(std::mem::take(&mut entries.left_behind).join("; "))
    }
}

/// Returns the message about data that is left in a database.
pub(super) fn left_behind(number: u32, reason: &str) -> String {
    format!("database {number} could not be emptied again ({reason}): remove the keys that the suite has left in it")
}
