//! The changes to a session since it was loaded, which a merge applies again to another client's
//! data.

use indexmap::IndexMap;

use super::{
    CodecError,
    data::{Name, SessionData},
};

/// The names that changed since the session was loaded or last saved, in the order of their first
/// change.
///
/// The names are recorded rather than derived by comparison with the loaded data: setting a value
/// to its current content is a change too, and takes precedence over another client's change.
#[derive(Default)]
pub(super) struct Changes {
    by_name: IndexMap<Name, Change>,
}

enum Change {
    /// The value was set or removed; the session holds the result.
    Replaced,
    /// The value was computed from its previous value by these functions, in order.
    Computed(Vec<Box<Compute>>),
}

/// A function that computes the value of a name again.
type Compute = dyn Fn(&mut SessionData) -> Result<(), CodecError> + Send + Sync;

impl Changes {
    pub(super) fn replaced(&mut self, name: Name) {
        self.by_name.insert(name, Change::Replaced);
    }

    pub(super) fn computed(&mut self, name: Name, compute: Box<Compute>) {
        let change = self.by_name.entry(name).or_insert(Change::Computed(Vec::new()));
        // Once this session has set a value, later computations on it do not depend on other
        // clients' values.
        if let Change::Computed(steps) = change {
            steps.push(compute);
        }
    }

    pub(super) fn include(&self, name: &str) -> bool {
        self.by_name.contains_key(name.as_bytes())
    }

    /// Returns `fresh` with the changes applied to it, name by name. Replaced values come from
    /// `here`; computed values are computed again.
    ///
    /// # Errors
    ///
    /// [`CodecError::WrongType`] if `fresh` has a value of another type under the name of a
    /// computed value.
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
