//! The errors for functions and options that the macro cannot use.
//!
//! The texts are in `tests/ui/*.stderr`. `TRYBUILD=overwrite cargo test -p codex-macros` rewrites
//! them.

#[test]
fn wrong_uses_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
