//! Entries in creation order, a clock that stands still until it is advanced, and the state of the
//! service.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use codex_testkit::{Breaker, OutageKind, VirtualClock, WallShift};
use futures_util::future::BoxFuture;

/// The wall time at which the clock starts, in milliseconds since 1970. Redis counts its deadlines
/// from 1970.
pub(crate) const SINCE_1970: i64 = 56 * 365 * 86_400_000;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The milliseconds since the clock was created, and the offset of the wall clock.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<(i64, i64)>>);

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Clock {
    pub(crate) fn now(&self) -> i64 {
        lock(&self.0).0
    }

    pub(crate) fn wall(&self) -> i64 {
        let (now, off) = *lock(&self.0);
        now + off
    }
}

impl VirtualClock for Clock {
    fn advance(&self, by: Duration) {
        lock(&self.0).0 += millis(by);
    }

    fn shift_wall_clock(&self, shift: WallShift) -> bool {
        lock(&self.0).1 += match shift {
            WallShift::Forward(by) => millis(by),
            WallShift::Back(by) => -millis(by),
        };
        true
    }
}

#[derive(Clone)]
pub(crate) struct Entry {
    /// The value, or `None` for a value of another type.
    pub(crate) value: Option<Bytes>,
    pub(crate) deadline: Option<i64>,
    /// The position in creation order, which serves as a scan cursor.
    pub(crate) position: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Keyspace {
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
    pub(crate) order: BTreeMap<u64, Vec<u8>>,
    pub(crate) next_position: u64,
}

impl Keyspace {
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.position);
        Some(entry)
    }

    /// Swaps the places of `key` and of the first key.
    pub(crate) fn move_to_front(&mut self, key: &[u8]) {
        let Some((&first, other)) = self.order.iter().next() else {
            return;
        };
        let other = other.clone();
        let Some(entry) = self.entries.get_mut(key) else { return };
        let place = std::mem::replace(&mut entry.position, first);
        self.order.insert(first, key.to_owned());
        if let Some(entry) = self.entries.get_mut(&other).filter(|_| other != key) {
            entry.position = place;
            self.order.insert(place, other);
        }
    }

    pub(crate) fn insert(&mut self, key: &[u8], value: Option<Bytes>, deadline: Option<i64>) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.value, entry.deadline) = (value, deadline);
            return;
        }
        let position = self.next_position;
        self.next_position += 1;
        self.order.insert(position, key.to_owned());
        let entry = Entry {
            value,
            deadline,
            position,
        };
        self.entries.insert(key.to_owned(), entry);
    }
}

/// The current outage, if any.
#[derive(Clone, Default)]
pub(crate) struct Service(Arc<Mutex<Option<OutageKind>>>);

impl Service {
    pub(crate) fn outage(&self) -> Option<OutageKind> {
        *lock(&self.0)
    }

    /// Returns whether the answer to this call is lost.
    pub(crate) fn loses_an_answer(&self) -> bool {
        lock(&self.0).take_if(|kind| *kind == OutageKind::ReplyLost).is_some()
    }
}

impl Breaker for Service {
    fn kinds(&self) -> Vec<OutageKind> {
        vec![
            OutageKind::Refused,
            OutageKind::Stalled,
            OutageKind::NoAuth,
            OutageKind::ReadOnly,
            OutageKind::OutOfMemory,
            OutageKind::ReplyLost,
        ]
    }

    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()> {
        Box::pin(async move { *lock(&self.0) = Some(kind) })
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { *lock(&self.0) = None })
    }
}
