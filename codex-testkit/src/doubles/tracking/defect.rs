//! Defects of a client that tracks.

/// A defect in how a store tracks, or in how its client listens. A near cache on such a store
/// breaks a clause, whatever the near cache does: use them to see that a test finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackingDefect {
    /// Reports are lost.
    LosesReports,
    /// Answers overtake the reports before them, as in the broadcasting mode of Redis.
    ReordersReports,
    /// A report about the same name in another database is ignored, though it ended the tracking of
    /// the key.
    IgnoresOtherDatabases,
    /// A report that anything may have changed is ignored.
    IgnoresFlushes,
    /// Every second read travels by a connection that does not track, and is said to be tracked.
    ReadsOnUntrackedConnection,
    /// Proofs are asked for on a connection of their own, and say nothing about the stream.
    ProvesOnAnotherConnection,
    /// A proof is accepted from a node that is no primary any more.
    IgnoresRole,
    /// Changes by the program that reads are not reported, and end the tracking of the key, as in
    /// the mode NOLOOP of Redis.
    NoLoop,
    /// The end of a stream is not told.
    HidesReconnects,
    /// A slot that moved is not noticed by a proof.
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
