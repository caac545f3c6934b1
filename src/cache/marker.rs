//! The marker of a lease: white space after a stored value.
//!
//! JSON allows white space after a value, so every JSON reader ignores a marker. A marker holds a
//! random token, which makes the bytes of each claim unique, and the time to live at the moment of
//! the claim, in two bits per character. A checksum distinguishes it from other white space. A
//! value that happens to end in a marker (raw bytes, other formats) is stored with a marker of kind
//! `Plain` after it, so that every value is read back unchanged.

use std::time::Duration;

use bytes::Bytes;

use super::CacheError;

/// The four characters of JSON's white space.
const ALPHABET: [u8; 4] = *b" \t\n\r";

/// Kind, token, milliseconds and checksum, at two bits per character.
const LENGTH: usize = 1 + 32 + 32 + 16;

/// The value of a placeholder. Django reads it as `None`, which is also its result for a missing
/// key.
const PLACEHOLDER: &[u8] = b"null";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Follows a value that happens to end in a marker.
    Plain,
    /// Follows the placeholder of a value that is being computed.
    Placeholder,
    /// Follows a value that is being refreshed.
    Leased,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Plain, Self::Placeholder, Self::Leased];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    kind: Kind,
    token: u64,
    /// The time to live of the key at the moment of the claim, in milliseconds.
    millis: u64,
}

impl Marker {
    fn checksum(self) -> u32 {
        // FNV-1a.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let kind = [self.kind as u8];
        let bytes = kind
            .into_iter()
            .chain(self.token.to_le_bytes())
            .chain(self.millis.to_le_bytes());
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // Folded, so that every bit of the hash contributes.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is kept")]
        let folded = (hash ^ (hash >> 32)) as u32;
        folded
    }

    fn append_to(self, value: &[u8]) -> Bytes {
        let mut marked = Vec::with_capacity(value.len() + LENGTH);
        marked.extend_from_slice(value);
        push(&mut marked, self.kind as u64, 1);
        push(&mut marked, self.token, 32);
        push(&mut marked, self.millis, 32);
        push(&mut marked, u64::from(self.checksum()), 16);
        marked.into()
    }

    /// Returns the marker at the end of `stored`.
    fn at_end_of(stored: &[u8]) -> Option<Self> {
        // Fast path: the JSON writer leaves no white space after a value.
        if !stored.last().is_some_and(|last| ALPHABET.contains(last)) {
            return None;
        }
        let (_, marker) = stored.split_last_chunk::<LENGTH>()?;
        let mut rest = marker.as_slice();
        let kind = usize::try_from(take(&mut rest, 1)?).ok()?;
        let marker = Self {
            kind: *Kind::ALL.get(kind)?,
            token: take(&mut rest, 32)?,
            millis: take(&mut rest, 32)?,
        };
        (take(&mut rest, 16)? == u64::from(marker.checksum())).then_some(marker)
    }
}

fn push(out: &mut Vec<u8>, bits: u64, characters: u32) {
    out.extend((0..characters).map(|at| ALPHABET[(bits >> (2 * at) & 3) as usize]));
}

fn take(rest: &mut &[u8], characters: usize) -> Option<u64> {
    let (taken, behind) = rest.split_at_checked(characters)?;
    *rest = behind;
    let mut bits = 0;
    for (at, byte) in taken.iter().enumerate() {
        let two = ALPHABET.iter().position(|known| known == byte)?;
        bits |= (two as u64) << (2 * at);
    }
    Some(bits)
}

/// The content of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    /// A value without a lease.
    Value(Bytes),
    /// A value that is being refreshed under a lease.
    Leased {
        value: Bytes,
        /// The stored bytes, including the marker.
        raw: Bytes,
        claim: Claim,
    },
    /// No value yet: it is being computed under a lease.
    Placeholder { raw: Bytes, claim: Claim },
}

impl Stored {
    #[inline]
    pub(super) fn read(stored: Bytes) -> Self {
        match Marker::at_end_of(&stored) {
            None => Self::Value(stored),
            Some(marker) => Self::of(&stored, marker),
        }
    }

    #[cold]
    fn of(stored: &Bytes, marker: Marker) -> Self {
        let (raw, value) = (stored.clone(), stored.slice(..stored.len() - LENGTH));
        let claim = Claim(Duration::from_millis(marker.millis));
        match marker.kind {
            Kind::Plain => Self::Value(value),
            Kind::Leased => Self::Leased { value, raw, claim },
            Kind::Placeholder => Self::Placeholder { raw, claim },
        }
    }

    /// Returns the value, or `None` for a placeholder.
    #[inline]
    pub(super) fn into_value(self) -> Option<Bytes> {
        match self {
            Self::Value(value) | Self::Leased { value, .. } => Some(value),
            Self::Placeholder { .. } => None,
        }
    }
}

/// The bound on the difference between two readings of the same time to live.
///
/// A near cache subtracts the whole latency of the read that it kept, so a claim made from its
/// answer is below the time to live in the store. A later exact reading then exceeds the claim. A
/// lease whose time to live was extended by less than this bound counts as new, which delays its
/// takeover by less than the bound.
const READING_ERROR: Duration = Duration::from_secs(1);

/// The time to live of a key at the moment when a lease was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim(Duration);

impl Claim {
    /// Returns a claim on a key with this remaining time to live.
    pub(super) fn at(remaining: Duration) -> Self {
        Self(remaining)
    }

    /// Returns whether a lease of this length has expired according to the store's clock. If the
    /// time to live was extended by [`READING_ERROR`] or more, or removed, since the claim, the age
    /// is unknown and the lease counts as expired.
    pub(super) fn has_passed(self, lease: Duration, remaining: Option<Duration>) -> bool {
        let age = remaining.and_then(|remaining| match self.0.checked_sub(remaining) {
            Some(age) => Some(age),
            None => (remaining.saturating_sub(self.0) < READING_ERROR).then_some(Duration::ZERO),
        });
        age.is_none_or(|age| age >= lease)
    }
}

/// Returns whether these stored bytes are a value without a marker.
#[inline]
pub(super) fn is_plain(stored: &[u8]) -> bool {
    Marker::at_end_of(stored).is_none()
}

/// Returns `value` in its stored form: unchanged, unless it could be mistaken for a marked value.
#[inline]
pub(super) fn plain(value: Bytes) -> Bytes {
    if Marker::at_end_of(&value).is_none() {
        return value;
    }
    let marker = Marker {
        kind: Kind::Plain,
        token: 0,
        millis: 0,
    };
    marker.append_to(&value)
}

/// Returns a unique placeholder for a key whose time to live is `lease`.
pub(super) fn placeholder(lease: Duration) -> Result<Bytes, CacheError> {
    claim(Kind::Placeholder, PLACEHOLDER, lease)
}

/// Returns `value` followed by the marker of a claim, for a key with this remaining time to live.
pub(super) fn leased(value: &[u8], remaining: Duration) -> Result<Bytes, CacheError> {
    claim(Kind::Leased, value, remaining)
}

fn claim(kind: Kind, value: &[u8], remaining: Duration) -> Result<Bytes, CacheError> {
    let token = getrandom::u64()
        .map_err(|_| CacheError::invalid("the operating system's random generator failed: no lease can be claimed"))?;
    // Rounded up: a claim below the time to live could not be told from an extended one.
    let millis = remaining.as_nanos().div_ceil(1_000_000);
    let marker = Marker {
        kind,
        token,
        millis: u64::try_from(millis).unwrap_or(u64::MAX),
    };
    Ok(marker.append_to(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    fn claim_of(stored: Bytes) -> Claim {
        match Stored::read(stored) {
            Stored::Leased { claim, .. } | Stored::Placeholder { claim, .. } => claim,
            Stored::Value(_) => panic!("expected a marker"),
        }
    }

    #[test]
    fn a_claim_covers_the_time_to_live_that_it_was_made_from() {
        for nanos in [1, 999_999, 1_000_000, 1_000_001, 59_999_999_999] {
            let remaining = Duration::from_nanos(nanos);
            let claim = claim_of(leased(b"7", remaining).unwrap());
            assert!(claim.0 >= remaining, "{claim:?} for {remaining:?}");
            assert!(
                claim.0.saturating_sub(remaining) < Duration::from_millis(1),
                "{claim:?} for {remaining:?}"
            );
            assert!(!claim.has_passed(LEASE, Some(remaining)), "{remaining:?}");
        }
        assert_eq!(claim_of(placeholder(LEASE).unwrap()).0, LEASE);
    }

    #[test]
    fn a_reading_slightly_above_the_claim_is_that_of_a_new_lease() {
        let claim = Claim::at(LEASE);
        let millis = |millis| Some(LEASE + Duration::from_millis(millis));
        for above in [0, 1, 50, 999] {
            assert!(!claim.has_passed(LEASE, millis(above)), "{above} ms above the claim");
        }
        assert!(claim.has_passed(LEASE, millis(1000)), "the time to live was extended");
        assert!(claim.has_passed(LEASE, None), "the time to live was removed");
        assert!(!claim.has_passed(LEASE, Some(Duration::from_millis(1))));
        assert!(claim.has_passed(LEASE, Some(Duration::ZERO)));
    }
}
