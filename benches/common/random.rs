//! Random numbers that are the same in every run.

/// Marsaglia's xorshift64*, seeded.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Returns a number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Returns `len` random numbers below `count`. The probability of number k is proportional to 1 /
/// (k + 1)^s.
pub(crate) fn zipf(count: usize, s: f64, len: usize, seed: u64) -> Vec<u32> {
    let mut sums = Vec::with_capacity(count);
    let mut sum = 0.0;
    for k in 1..=count {
        sum += (k as f64).powf(-s);
        sums.push(sum);
    }
    let mut random = Random::new(seed);
    (0..len)
        .map(|_| {
            let at = random.unit() * sum;
            sums.partition_point(|&sum| sum <= at).min(count - 1) as u32
        })
        .collect()
}
