//! Times to live.

use std::time::Duration;

/// Whole milliseconds near the units and integer widths in which a store might keep times.
///
/// The longest is about 250 years, which every store must accept.
pub const MILLIS: [u64; 26] = [
    1_001,
    1_500,
    1_999,
    2_999,
    9_999,
    59_999,
    60_001,
    65_535,
    65_537,
    90_123,
    100_250,
    255_999,
    3_599_999,
    3_600_123,
    16_777_217,
    86_400_777,
    604_800_123,
    2_147_483_647,
    2_147_483_649,
    2_592_000_501,
    4_294_967_297,
    31_536_000_250,
    34_359_738_369,
    1_099_511_627_777,
    4_294_967_296_001,
    8_000_000_000_123,
];

/// Durations with fractions of a millisecond, and the whole milliseconds to which they are rounded
/// up.
pub const FRACTIONS: [(Duration, Duration); 9] = [
    (Duration::from_micros(1_500), Duration::from_millis(2)),
    (Duration::from_nanos(1_000_001), Duration::from_millis(2)),
    (Duration::from_nanos(1_999_999), Duration::from_millis(2)),
    (Duration::from_micros(2_100), Duration::from_millis(3)),
    (Duration::from_micros(999_500), Duration::from_millis(1_000)),
    (Duration::from_micros(1_000_500), Duration::from_millis(1_001)),
    (Duration::from_nanos(1_499_000_001), Duration::from_millis(1_500)),
    (Duration::from_nanos(60_000_400_000), Duration::from_millis(60_001)),
    (
        Duration::from_nanos(3_600_000_000_001),
        Duration::from_millis(3_600_001),
    ),
];
