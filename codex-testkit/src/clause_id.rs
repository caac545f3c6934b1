//! Clause ids, and their entries in the list.

use std::{fmt, hash};

use codex_traits::Capability;

/// A clause of a contract.
#[derive(Clone, Copy)]
pub struct ClauseId(pub(crate) &'static Entry);

/// The entry of a clause in the list.
#[derive(Debug)]
pub struct Entry {
    /// The group, such as `get`.
    pub group: &'static str,
    /// The id as Rust writes it, such as `get_01`.
    pub id: &'static str,
    /// The name of the test of the clause.
    pub name: &'static str,
    /// The text of the contract.
    pub text: &'static str,
    /// The capability without which the clause does not apply.
    pub capability: Option<Capability>,
}

impl ClauseId {
    /// Returns the group, such as `get`.
    pub fn group(self) -> &'static str {
        self.0.group
    }

    /// Returns the clause's number in its group, starting at 1.
    pub fn number(self) -> u32 {
        let digits = self.0.id.rsplit('_').next().unwrap_or_default();
        digits.parse().unwrap_or_default()
    }

    /// Returns the id as Rust writes it, such as `get_01`.
    pub fn ident(self) -> &'static str {
        self.0.id
    }

    /// Returns the name of the test of the clause, such as `get_01_missing_key_is_none`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Returns the text of the contract.
    pub fn text(self) -> &'static str {
        self.0.text
    }

    /// Returns the capability without which the clause does not apply.
    pub fn capability(self) -> Option<Capability> {
        self.0.capability
    }
}

/// The error for an unknown clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownClause(pub(crate) String);

impl fmt::Display for UnknownClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no clause {:?}; an id is written as in get_01 or get-01",
            self.0
        )
    }
}

impl std::error::Error for UnknownClause {}

impl PartialEq for ClauseId {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ClauseId {}

impl hash::Hash for ClauseId {
    fn hash<S: hash::Hasher>(&self, state: &mut S) {
        self.0.id.hash(state);
    }
}

/// The id as the contract writes it, such as `get-01`.
impl fmt::Display for ClauseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}", self.group(), self.number())
    }
}

impl fmt::Debug for ClauseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClauseId({self})")
    }
}
