//! Random numbers that are the same in every run.

/// The generator xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", 2016.
pub(crate) struct Random(u64);

impl Random {
    /// Creates the sequence of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        // A state of zero would stay zero. The product of two odd numbers is never zero, and the
        // multiplication spreads near seeds far apart.
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
