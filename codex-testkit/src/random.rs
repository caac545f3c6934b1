//! Numbers that are the same in every run.

/// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled",
/// 2016.
pub(crate) struct Random(u64);

impl Random {
    /// Creates a sequence of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero; an odd number times another is none, and near seeds are put far
        // apart.
        Self((seed | 1 << 63).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}
