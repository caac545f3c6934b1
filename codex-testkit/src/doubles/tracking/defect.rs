//! Defects of a tracking client.

/// A defect in the tracking of a store, or in its client. A near cache on such a store breaks a
/// clause, regardless of the near cache. Use a defect to check that a test finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackingDefect {
    /// Reports are lost.
    LosesReports,
    /// Answers overtake the reports before them, as in the broadcasting mode of Redis.
    ReordersReports,
    /// A report about the same name in another database is ignored, although the report ended the
    /// tracking of the key.
    IgnoresOtherDatabases,
    /// A report that any key may have changed is ignored.
    IgnoresFlushes,
    /// Every second read uses a connection that does not track, but claims to be tracked.
    ReadsOnUntrackedConnection,
    /// Proofs use a connection of their own, and prove nothing about the stream.
    ProvesOnAnotherConnection,
    /// A proof is accepted from a node that is no longer a primary.
    IgnoresRole,
    /// Changes by the reading program are not reported, and end the tracking of the key, as in the
    /// mode NOLOOP of Redis.
    NoLoop,
    /// The end of a stream is not reported.
    HidesReconnects,
    /// A proof does not notice that a slot has moved.
    IgnoresEpoch,
}

impl TrackingDefect {
    /// Every defect.
    pub const ALL: &'static [Self] = &[
        Self::LosesReports,
        Self::ReordersReports,
        Self::IgnoresOtherDatabases,
        Self::IgnoresFlushes,
        Self::ReadsOnUntrackedConnection,
        Self::ProvesOnAnotherConnection,
        Self::IgnoresRole,
        Self::NoLoop,
        Self::HidesReconnects,
        Self::IgnoresEpoch,
    ];
}
