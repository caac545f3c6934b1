//! The capabilities of a backend beyond the common contract.

use std::fmt;

/// A feature that not every store has. The conformance suite tests each declared feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Values of at least 64 MiB.
    LargeValues,
    /// Keys can hold types other than plain values (a Redis list), written by other programs.
    ForeignTypes,
    /// A `get_many` is one snapshot of all its keys.
    AtomicMany,
    /// The keys are distributed over several nodes.
    Cluster,
    /// `get_with_ttl` returns the value and the time to live of one moment.
    AtomicGetWithTtl,
    /// An acknowledged write survives the end of the process, even a crash.
    Durable,
}

impl Capability {
    /// Every capability.
    pub const ALL: &'static [Self] = &[
        Self::LargeValues,
        Self::ForeignTypes,
        Self::AtomicMany,
        Self::Cluster,
        Self::AtomicGetWithTtl,
        Self::Durable,
    ];

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LargeValues => "large_values",
            Self::ForeignTypes => "foreign_types",
            Self::AtomicMany => "atomic_many",
            Self::Cluster => "cluster",
            Self::AtomicGetWithTtl => "atomic_get_with_ttl",
            Self::Durable => "durable",
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
pub struct Capabilities(u32);

impl Capabilities {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds `capability`.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// Removes `capability`, for a wrapper that cannot provide a capability of the wrapped backend.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !capability.bit())
    }

    /// Returns whether `capability` is declared.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Returns the declared capabilities.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .iter()
            .copied()
            .filter(move |capability| self.contains(*capability))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
