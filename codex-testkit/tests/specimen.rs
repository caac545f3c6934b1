//! The suite on a backend that is right, as its author would run it.

mod zoo;

mod conformance {
    use super::zoo::SpecimenHarness;

    codex_testkit::conformance_tests!(SpecimenHarness::default(), skip: {
        scan_10: "one node",
    });
}
