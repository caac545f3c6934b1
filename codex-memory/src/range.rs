//! Which hashes a block is for.

/// All hashes that begin with the same bits: those bits, a bit that is set, and zeros. The highest
/// bit alone stands for all hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range(u32);

impl Range {
    pub(crate) const ALL: Self = Self(1 << 31);

    /// How many bits its hashes have in common.
    pub(crate) fn bits(self) -> u32 {
        31 - self.0.trailing_zeros()
    }

    fn mark(self) -> u32 {
        self.0 & self.0.wrapping_neg()
    }

    /// The first hash.
    pub(crate) fn first(self) -> u32 {
        self.0 ^ self.mark()
    }

    /// The last hash.
    pub(crate) fn last(self) -> u32 {
        self.0 | (self.mark() - 1)
    }

    /// The two halves; `None` where one would be of a single hash.
    pub(crate) fn halves(self) -> Option<(Self, Self)> {
        let quarter = self.mark() >> 1;
        (quarter > 0).then(|| (Self(self.0 ^ self.mark() | quarter), Self(self.0 | quarter)))
    }

    /// What it is a half of, and the other half; `None` for all hashes.
    pub(crate) fn whole(self) -> Option<(Self, Self)> {
        let half = self.mark().checked_shl(1).filter(|&half| half > 0)?;
        Some((Self(self.first() & !half | half), Self(self.0 ^ half)))
    }
}

impl Default for Range {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_make_up_the_whole() {
        let mut ranges = vec![Range::ALL];
        assert_eq!(
            (Range::ALL.first(), Range::ALL.last(), Range::ALL.bits()),
            (0, u32::MAX, 0)
        );
        assert_eq!(Range::ALL.whole(), None);
        for bits in 1..10 {
            let halves = |range: Range| {
                let (low, high) = range.halves().unwrap();
                assert_eq!((low.bits(), high.bits()), (bits, bits));
                assert_eq!((low.first(), high.last()), (range.first(), range.last()));
                assert_eq!(low.last() + 1, high.first());
                assert_eq!((low.whole(), high.whole()), (Some((range, high)), Some((range, low))));
                [low, high]
            };
            ranges = ranges.into_iter().flat_map(halves).collect();
        }
    }

    #[test]
    fn a_range_of_two_hashes_has_no_halves() {
        let mut range = Range::ALL;
        while let Some((_, high)) = range.halves() {
            range = high;
        }
        assert_eq!(
            (range.first(), range.last(), range.bits()),
            (u32::MAX - 1, u32::MAX, 31)
        );
    }
}
