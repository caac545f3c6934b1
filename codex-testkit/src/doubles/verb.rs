//! The verbs of the contract, as values.

use std::fmt;

/// A verb of [`KvBackend`](codex_traits::KvBackend) that sends a request to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verb {
    /// [`get`](codex_traits::KvBackend::get)
    Get,
    /// [`set`](codex_traits::KvBackend::set)
    Set,
    /// [`del`](codex_traits::KvBackend::del)
    Del,
    /// [`del_if_equals`](codex_traits::KvBackend::del_if_equals)
    DelIfEquals,
    /// [`expire`](codex_traits::KvBackend::expire)
    Expire,
    /// [`ttl`](codex_traits::KvBackend::ttl)
    Ttl,
    /// [`scan`](codex_traits::KvBackend::scan)
    Scan,
    /// [`get_many`](codex_traits::KvBackend::get_many)
    GetMany,
    /// [`set_many`](codex_traits::KvBackend::set_many)
    SetMany,
    /// [`incr`](codex_traits::KvBackend::incr)
    Incr,
    /// [`del_matching`](codex_traits::KvBackend::del_matching)
    DelMatching,
    /// [`get_with_ttl`](codex_traits::KvBackend::get_with_ttl)
    GetWithTtl,
    /// [`health`](codex_traits::KvBackend::health)
    Health,
}

impl Verb {
    /// Every verb, in the order of the trait.
    pub const ALL: &'static [Self] = &[
        Self::Get,
        Self::Set,
        Self::Del,
        Self::DelIfEquals,
        Self::Expire,
        Self::Ttl,
        Self::Scan,
        Self::GetMany,
        Self::SetMany,
        Self::Incr,
        Self::DelMatching,
        Self::GetWithTtl,
        Self::Health,
    ];

    /// Returns the method's name, which is also the [`operation`](codex_traits::Error::operation)
    /// of an error.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Del => "del",
            Self::DelIfEquals => "del_if_equals",
            Self::Expire => "expire",
            Self::Ttl => "ttl",
            Self::Scan => "scan",
            Self::GetMany => "get_many",
            Self::SetMany => "set_many",
            Self::Incr => "incr",
            Self::DelMatching => "del_matching",
            Self::GetWithTtl => "get_with_ttl",
            Self::Health => "health",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
