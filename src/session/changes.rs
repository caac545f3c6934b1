//! The changes to a session since it was loaded, so that it can be done again to what somebody
//! else has stored meanwhile.

use indexmap::IndexMap;

use super::{
    CodecError,
    data::{Name, SessionData},
};

/// The names that were changed since the session was loaded or last saved, in the order of their
/// first change.
///
/// Kept rather than found by comparing with what was loaded: a value that was set to what it was
/// already is a change too, and is to win over somebody else's.
#[derive(Default)]
pub(super) struct Changes {
    by_name: IndexMap<Name, Change>,
}

enum Change {
    /// The value, or that there is none, is as the session holds it.
    Replaced,
    /// Computed from the value before it, by these one after the other.
    Computed(Vec<Box<Compute>>),
}

/// Sets one name's value anew.
type Compute = dyn Fn(&mut SessionData) -> Result<(), CodecError> + Send + Sync;

impl Changes {
    pub(super) fn replaced(&mut self, name: Name) {
        self.by_name.insert(name, Change::Replaced);
    }

    pub(super) fn computed(&mut self, name: Name, compute: Box<Compute>) {
        let change = self.by_name.entry(name).or_insert(Change::Computed(Vec::new()));
        // A value that was set outright and computed on since is the session's own, whatever others
        // have.
        if let Change::Computed(steps) = change {
            steps.push(compute);
        }
    }

    /// Returns `fresh` with the changes made to it, name by name. What was replaced is taken from
    /// `here`; what was computed is computed again.
    ///
    /// # Errors
    ///
    /// [`CodecError::WrongType`] if `fresh` has something else under the name of a value that is to
    /// be computed.
    pub(super) fn applied_to(&self, mut fresh: SessionData, here: &SessionData) -> Result<SessionData, CodecError> {
        for (name, change) in &self.by_name {
            match change {
                Change::Replaced => fresh.copy_from(here, name),
                Change::Computed(steps) => steps.iter().try_for_each(|step| step(&mut fresh))?,
            }
        }
        Ok(fresh)
    }
}
