//! Writes, and reads that bypass the memory. Their keys are dropped before the call is sent and
//! again after it is answered.

use std::future::Future;

use codex_traits::Result;

use super::state::State;

/// A write of some keys. If it is dropped before its outcome is known, the store may still execute
/// it.
struct Writing<'a> {
    state: &'a State,
    keys: &'a [&'a str],
    may_be_pending: bool,
}

impl<'a> Writing<'a> {
    fn begin(state: &'a State, keys: &'a [&'a str]) -> Self {
        for key in keys {
            state.begin_write(key);
        }
        Self {
            state,
            keys,
            may_be_pending: true,
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for key in self.keys {
            self.state.end_write(key, self.may_be_pending);
        }
    }
}

/// A write of unknown keys.
struct Sweeping<'a> {
    state: &'a State,
    may_be_pending: bool,
}

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        self.state.end_sweep(self.may_be_pending);
    }
}

impl State {
    /// Runs a write of these keys.
    pub(super) async fn write<T>(&self, keys: &[&str], write: impl Future<Output = Result<T>>) -> Result<T> {
        let mut writing = Writing::begin(self, keys);
        let outcome = write.await;
        writing.may_be_pending = may_be_pending(&outcome);
        outcome
    }

    /// Runs a write of unknown keys.
    pub(super) async fn sweep<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        self.begin_sweep();
        let mut sweeping = Sweeping {
            state: self,
            may_be_pending: true,
        };
        let outcome = write.await;
        sweeping.may_be_pending = may_be_pending(&outcome);
        outcome
    }

    /// Runs a read that bypasses the memory.
    pub(super) async fn bypass<T>(&self, key: &str, read: impl Future<Output = Result<T>>) -> Result<T> {
        self.drop_key(key);
        let outcome = read.await;
        self.drop_key(key);
        outcome
    }
}

fn may_be_pending<T>(outcome: &Result<T>) -> bool {
    outcome.as_ref().is_err_and(codex_traits::Error::may_have_executed)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use codex_traits::{Error, ErrorKind};
    use futures_util::FutureExt as _;

    use super::*;
    use crate::near::state::{
        Settled,
        tests::{settle, state},
    };

    fn keeps(state: &State, key: &str) -> bool {
        settle(state, key) == Settled::Kept
    }

    fn error() -> Error {
        Error::new(ErrorKind::Connection, "set", "for a test")
    }

    #[test]
    fn nothing_is_kept_after_a_write_that_may_be_pending() {
        for (outcome, is_settled) in [
            (Some(Ok(())), true),
            (Some(Err(error().not_executed())), true),
            (Some(Err(error())), false),
            // The call is dropped.
            (None, false),
        ] {
            let call = || async {
                match outcome.clone() {
                    Some(outcome) => outcome,
                    None => pending().await,
                }
            };
            let written = state(false);
            let _ = written.write(&["a", "b"], call()).now_or_never();
            for key in ["a", "b"] {
                assert_eq!(keeps(&written, key), is_settled, "{key} {outcome:?}");
            }
            let swept = state(false);
            let _ = swept.sweep(call()).now_or_never();
            assert_eq!(keeps(&swept, "a"), is_settled, "{outcome:?}");
        }
    }

    #[test]
    fn nothing_is_kept_during_a_write_or_a_read_that_bypasses_the_memory() {
        let state = state(false);
        let write = async {
            assert!(!keeps(&state, "a") && !keeps(&state, "b"));
            Ok(())
        };
        state.write(&["a", "b"], write).now_or_never().unwrap().unwrap();

        assert!(keeps(&state, "c"));
        let read = async {
            assert!(state.find("c").is_err(), "dropped before the read");
            assert!(keeps(&state, "c"));
            Ok(())
        };
        state.bypass("c", read).now_or_never().unwrap().unwrap();
        assert!(state.find("c").is_err(), "and after it");
    }
}
