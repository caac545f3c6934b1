//! The assignment of databases on a server that the tests have started.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The number of databases of a server that the tests have started.
pub(super) const DATABASES: u32 = 16_384;

/// The databases of a server. Only this process uses the server, so a counter suffices to assign
/// them.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    ever: u32,
    returned: BTreeSet<u32>,
}

impl Numbers {
    /// Returns a free number, and whether it was used before. Unused numbers come first, so that
    /// tasks left over from one test do not disturb the next test. Database 0 is never leased,
    /// because commands that forget to select a database end up in it.
    pub(super) fn take(&self) -> Option<(u32, bool)> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.ever + 1 < DATABASES {
            used.ever += 1;
            return Some((used.ever, false));
        }
        used.returned.pop_first().map(|number| (number, true))
    }

    pub(super) fn give_back(&self, number: u32) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.returned.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_leased_once_and_again_after_it_was_given_back() {
        let numbers = Numbers::default();
        let all: BTreeSet<u32> = std::iter::from_fn(|| numbers.take())
            .map(|(number, _)| number)
            .collect();
        assert_eq!(all, (1..DATABASES).collect());
        numbers.give_back(7);
        assert_eq!(numbers.take(), Some((7, true)));
        assert_eq!(numbers.take(), None);
    }
}
