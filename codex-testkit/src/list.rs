//! The one list of clauses. What runs, what is reported and which tests the macro makes are all read from it.

use std::{fmt, hash, str::FromStr};

use codex_traits::Capability;
use futures_util::future::BoxFuture;

use crate::{Harness, clauses, context::Context, failure::Checked};

/// Calls `$callback!` with every clause: per group `id name [capability] "text"`.
#[doc(hidden)]
#[macro_export]
macro_rules! __codex_testkit_clauses {
    ($callback:ident) => {
        $callback! {
            get {
                get_01 get_01_missing_key_is_none []
                    "a missing key is `None`";
                get_02 get_02_values_come_back_byte_for_byte []
                    "what was set comes back byte for byte: all 256 byte values, an empty value, 64 MiB (`large_values`)";
                get_03 get_03_empty_value_is_not_a_missing_one []
                    "an empty value is not a missing one";
                get_04 get_04_reading_keeps_the_ttl []
                    "reading never changes the TTL";
                get_05 get_05_a_key_is_any_utf8_text []
                    "a key is any UTF-8 text: empty, with NUL, spaces and glob characters, 1 MiB long; no normalisation or case folding";
                get_06 get_06_another_type_is_a_data_error [ForeignTypes]
                    "a key that holds another type is an error of kind `Data`, not `None`";
            }
        }
    };
}

/// A clause of the contract.
#[derive(Clone, Copy)]
pub struct ClauseId(&'static Entry);

struct Entry {
    group: &'static str,
    id: &'static str,
    name: &'static str,
    text: &'static str,
    capability: Option<Capability>,
}

macro_rules! registry {
    ($($group:ident { $($id:ident $name:ident [$($capability:ident)?] $text:literal;)* })*) => {
        static ENTRIES: &[Entry] = &[$($(Entry {
            group: stringify!($group),
            id: stringify!($id),
            name: stringify!($name),
            text: $text,
            capability: registry!(@capability $($capability)?),
        },)*)*];

        /// Runs the clause itself.
        pub(crate) fn call<'a, H: Harness>(id: ClauseId, cx: &'a Context<'_, H>) -> BoxFuture<'a, Checked> {
            match id.0.name {
                $($(stringify!($name) => Box::pin(clauses::$group::$name(cx)),)*)*
                _ => unreachable!("ids come from the list"),
            }
        }
    };
    (@capability) => { None };
    (@capability $capability:ident) => { Some(Capability::$capability) };
}
__codex_testkit_clauses!(registry);

impl ClauseId {
    /// Every clause there is, in the order of the contract.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ENTRIES.iter().map(Self)
    }

    /// The group, such as `get`.
    pub fn group(self) -> &'static str {
        self.0.group
    }

    /// The number in its group, from 1.
    pub fn number(self) -> u32 {
        let digits = self.0.id.rsplit('_').next().unwrap_or_default();
        digits.parse().unwrap_or_default()
    }

    /// The id as Rust writes it, such as `get_01`.
    pub fn ident(self) -> &'static str {
        self.0.id
    }

    /// The name of its test, such as `get_01_missing_key_is_none`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What the contract says.
    pub fn text(self) -> &'static str {
        self.0.text
    }

    /// The capability without which the clause does not apply.
    pub fn capability(self) -> Option<Capability> {
        self.0.capability
    }
}

/// Reads `get-01`, `get_01` and `get_01_missing_key_is_none`.
impl FromStr for ClauseId {
    type Err = UnknownClause;

    fn from_str(text: &str) -> Result<Self, UnknownClause> {
        let ident = text.replace('-', "_");
        Self::all()
            .find(|clause| clause.ident() == ident || clause.name() == ident)
            .ok_or_else(|| UnknownClause(text.to_owned()))
    }
}

/// There is no such clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownClause(String);

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn numbers_run_without_a_gap_and_names_begin_with_ids() {
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        for clause in ClauseId::all() {
            let last = last.entry(clause.group()).or_default();
            *last += 1;
            assert_eq!(clause.ident(), format!("{}_{:02}", clause.group(), last));
            assert_eq!(clause.number(), *last);
            assert!(clause.name().starts_with(&format!("{}_", clause.ident())), "{clause}");
            assert!(!clause.text().is_empty());
        }
    }

    #[test]
    fn ids_are_read_in_every_spelling() {
        for text in ["get-01", "get_01", "get_01_missing_key_is_none"] {
            assert_eq!(text.parse::<ClauseId>().unwrap().to_string(), "get-01");
        }
        assert!("get_1".parse::<ClauseId>().is_err());
        assert!("".parse::<ClauseId>().is_err());
    }
}
