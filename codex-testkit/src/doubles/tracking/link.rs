//! The network between the programs and the store.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::random::Random;

#[derive(Debug, Clone, Copy)]
pub(super) struct LinkState {
    pub(super) is_frozen: bool,
    pub(super) holds_streams: bool,
    pub(super) holds_calls: bool,
    /// Raised to close every connection that was opened under a lower generation.
    pub(super) generation: u64,
    shortest: Duration,
    longest: Duration,
}

pub(super) struct Link {
    state: watch::Sender<LinkState>,
    random: Mutex<Random>,
}

impl Link {
    pub(super) fn new(seed: u64) -> Self {
        let state = LinkState {
            is_frozen: false,
            holds_streams: false,
            holds_calls: false,
            generation: 0,
            shortest: Duration::from_millis(1),
            longest: Duration::from_millis(4),
        };
        Self {
            state: watch::Sender::new(state),
            random: Mutex::new(Random::new(seed)),
        }
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut LinkState)) {
        self.state.send_modify(change);
    }

    pub(super) fn set_latency(&self, shortest: Duration, longest: Duration) {
        self.set(|state| (state.shortest, state.longest) = (shortest, longest));
    }

    pub(super) fn state(&self) -> LinkState {
        *self.state.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Returns the arrival time of a message that another program sends now.
    pub(super) fn arrival_outside() -> Instant {
        Instant::now() + Duration::from_millis(1)
    }

    /// Returns the arrival time of a message that is sent now.
    pub(super) fn arrival(&self) -> Instant {
        let LinkState { shortest, longest, .. } = self.state();
        let range = u64::try_from(longest.saturating_sub(shortest).as_millis()).unwrap_or_default();
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now() + shortest + Duration::from_millis(random.below(range + 1))
    }

    /// Waits until `holds` returns `true` for the state.
    pub(super) async fn wait(&self, holds: impl FnMut(&LinkState) -> bool) {
        // The link owns the sender, so the channel cannot be closed.
        let _ = self.subscribe().wait_for(holds).await;
    }
}
