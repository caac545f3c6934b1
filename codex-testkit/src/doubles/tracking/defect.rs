//! Defects of a tracking client.

/// A defect in the tracking of a store, or in its client. Even a correct near cache violates a
/// clause on such a store. Use a defect to check that a test finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackingDefect {
    /// Reports are lost.
    LosesReports,
    /// Answers overtake earlier reports, as in the broadcasting mode of Redis.
    ReordersReports,
    /// A report about a key of the same name in another database is ignored, although the report
    /// ended the tracking of the key.
    IgnoresOtherDatabases,
    /// A report that any key may have changed is ignored.
    IgnoresFlushes,
    /// Every second read uses a connection without tracking, but claims to be tracked.
    ReadsOnUntrackedConnection,
    /// Proofs use a separate connection, so they prove nothing about the stream.
    ProvesOnAnotherConnection,
    /// A proof is accepted from a node that is no longer a primary.
    IgnoresRole,
    /// Changes by the reading program are not reported, but end the tracking of the key, as with
    /// the NOLOOP option of Redis.
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
