//! Prefixes of hashes.

/// The set of hashes that begin with the same bits, stored as those bits, a set bit, and zeros. The
/// empty prefix, the set of all hashes, has only the highest bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix(u32);

impl Prefix {
    pub(crate) const ALL: Self = Self(1 << 31);

    /// Returns the length of the prefix in bits.
    pub(crate) fn bits(self) -> u32 {
        31 - self.0.trailing_zeros()
    }

    fn mark(self) -> u32 {
        self.0 & self.0.wrapping_neg()
    }

    /// Returns the first hash.
    pub(crate) fn first(self) -> u32 {
        self.0 ^ self.mark()
    }

    /// Returns the last hash.
    pub(crate) fn last(self) -> u32 {
        self.0 | (self.mark() - 1)
    }

    /// Returns the two halves, whose prefixes are one bit longer, or `None` if a half would be a
    /// single hash.
    pub(crate) fn halves(self) -> Option<(Self, Self)> {
        let quarter = self.mark() >> 1;
        (quarter > 0).then(|| (Self(self.0 ^ self.mark() | quarter), Self(self.0 | quarter)))
    }

    /// Returns the prefix that is one bit shorter and its other half, or `None` for the empty
    /// prefix.
    pub(crate) fn whole(self) -> Option<(Self, Self)> {
        let half = self.mark().checked_shl(1).filter(|&half| half > 0)?;
        Some((Self(self.first() & !half | half), Self(self.0 ^ half)))
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_make_up_the_whole() {
        let mut prefixes = vec![Prefix::ALL];
        assert_eq!(
            (Prefix::ALL.first(), Prefix::ALL.last(), Prefix::ALL.bits()),
            (0, u32::MAX, 0)
        );
        assert_eq!(Prefix::ALL.whole(), None);
        for bits in 1..10 {
            let halves = |prefix: Prefix| {
                let (low, high) = prefix.halves().unwrap();
                assert_eq!((low.bits(), high.bits()), (bits, bits));
                assert_eq!((low.first(), high.last()), (prefix.first(), prefix.last()));
                assert_eq!(low.last() + 1, high.first());
                assert_eq!((low.whole(), high.whole()), (Some((prefix, high)), Some((prefix, low))));
                [low, high]
            };
            prefixes = prefixes.into_iter().flat_map(halves).collect();
        }
    }

    #[test]
    fn a_range_of_two_hashes_has_no_halves() {
        let mut prefix = Prefix::ALL;
        while let Some((_, high)) = prefix.halves() {
            prefix = high;
        }
        assert_eq!(
            (prefix.first(), prefix.last(), prefix.bits()),
            (u32::MAX - 1, u32::MAX, 31)
        );
    }
}
