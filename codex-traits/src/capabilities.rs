//! What a backend can do beyond the common contract.

use std::fmt;

/// Something that not every store can do. The conformance suite checks each one that is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Values of at least 64 MiB.
    LargeValues,
    /// The store can hold what is no plain value (a Redis list), written by other programs.
    ForeignTypes,
    /// A `get_many` is one snapshot of all its keys.
    AtomicMany,
    /// The keys are spread over several nodes.
    Cluster,
}

impl Capability {
    /// Every capability there is.
    pub const ALL: [Self; 4] = [Self::LargeValues, Self::ForeignTypes, Self::AtomicMany, Self::Cluster];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LargeValues => "large_values",
            Self::ForeignTypes => "foreign_types",
            Self::AtomicMany => "atomic_many",
            Self::Cluster => "cluster",
        })
    }
}

/// The set of [`Capability`]s that a backend declares.
///
/// ```
/// use codex_traits::{Capabilities, Capability};
///
/// let declared = Capabilities::new().with(Capability::LargeValues);
/// assert!(declared.contains(Capability::LargeValues));
/// assert!(!declared.contains(Capability::Cluster));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// None.
    pub const fn new() -> Self {
        Self(0)
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// Whether `capability` is declared.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// The declared ones.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |capability| self.contains(*capability))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
