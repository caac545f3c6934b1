//! Reproducible random numbers.

/// The xorshift64* generator: Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", 2016.
pub(crate) struct Random(u64);

impl Random {
    /// Creates a generator whose sequence depends on `seed` alone.
    pub(crate) fn new(seed: u64) -> Self {
        // A state of zero would stay zero, so the lowest bit is set. The multiplication spreads
        // neighbouring seeds far apart.
        Self((seed | 1 << 63).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}
