//! What the macro says of functions and options that it cannot use.
//!
//! The texts are in `tests/ui/*.stderr`; `TRYBUILD=overwrite cargo test -p codex-macros` writes
//! them anew.

#[test]
fn wrong_uses_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
