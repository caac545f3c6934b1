//! The suite on a backend that is right, as its author would run it.

mod faulty_backends;

mod conformance {
    use super::faulty_backends::FaultyBackendHarness;

    codex_testkit::conformance_tests!(FaultyBackendHarness::default(), skip: {
        scan_10: "one node",
    });
}
