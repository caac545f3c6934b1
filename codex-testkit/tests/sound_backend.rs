//! The suite on correct backends, as their authors would run it.

mod faulty_backends;

mod conformance {
    use super::faulty_backends::FaultyBackendHarness;

    codex_testkit::conformance_tests!(FaultyBackendHarness::default(), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        scan_10: "one node",
    });
}

/// The wrapper of `altered`, without an alteration.
mod altered {
    use super::faulty_backends::altered::AlteredHarness;

    codex_testkit::conformance_tests!(AlteredHarness::new(None), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        exp_12: "the store has no wall clock",
        get_06: "the store holds nothing but plain values",
        life_01: "in process, nothing goes out of service",
        life_02: "in process, nothing goes out of service",
        life_03: "in process, nothing goes out of service",
        life_05: "in process, no answer is lost",
        life_11: "in process, nothing goes out of service",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        many_06: "the store holds nothing but plain values",
        scan_09: "keys are text",
        scan_10: "one node",
    });
}

/// The client of `connected`, without a fault.
mod connected {
    use codex_testkit::{ClauseId, Outcome, run_only};

    use super::faulty_backends::connected::ConnectedHarness;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_client_bears_what_connections_do() {
        let clauses = ClauseId::all().filter(|clause| clause.group() == "life" && clause.number() > 10);
        let report = run_only(&ConnectedHarness::new(None), clauses).await;
        let passed = |(_, outcome): &(ClauseId, Outcome)| *outcome == Outcome::Passed;
        assert!(report.outcomes.iter().all(passed), "{report}");
    }
}

/// The store of `journaled`, without a fault.
mod journaled {
    use codex_testkit::{ClauseId, run_only};

    use super::faulty_backends::journaled::{JournaledHarness, write_if_told_to};

    #[tokio::test]
    async fn the_journal_is_durable() {
        let clauses = ClauseId::all().filter(|clause| clause.group() == "dur");
        let report = run_only(&JournaledHarness::new(None), clauses).await;
        assert!(!report.failed(), "{report}");
    }

    /// The process that dur-02 starts and kills. It is not a test by itself.
    #[tokio::test]
    #[ignore = "started by dur_02 in a process of its own"]
    async fn killable_writer() {
        write_if_told_to().await;
    }
}
