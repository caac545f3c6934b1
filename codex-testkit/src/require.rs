//! Requirements of tests, and tests that are skipped without them.
//!
//! A test that needs a service (Redis, a container engine) requests it with
//! [`require!`](crate::require!). If the service is unavailable, the test writes the line
//! `CODEX-SKIPPED <test>: <reason>` to standard error and returns. The line bypasses the capture of
//! the test harness, so that a script can count skipped tests and does not mistake them for tests
//! that passed. The environment variable `CODEX_REQUIRE` lists required services, separated by
//! commas (`CODEX_REQUIRE=redis,docker`). A test fails if a service that it requests is listed but
//! unavailable.

use std::{env, error::Error, fmt, io::Write as _};

/// The reason that a test's requirement is unavailable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(String);

impl Unavailable {
    /// Creates it from the reason: what was tried, and how it failed.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Scripts count lines, so the reason must be a single line.
        for (index, line) in self.0.lines().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            f.write_str(line.trim())?;
        }
        Ok(())
    }
}

impl Error for Unavailable {}

/// Returns whether `CODEX_REQUIRE` lists this requirement.
pub fn is_required(requirement: &str) -> bool {
    env::var("CODEX_REQUIRE").is_ok_and(|list| lists(&list, requirement))
}

fn lists(list: &str, requirement: &str) -> bool {
    list.split([',', ' ']).any(|item| item == requirement)
}

/// Returns the requested value, or reports that `test` is skipped and returns `None`.
/// [`require!`](crate::require!) is the short form.
///
/// # Panics
///
/// If the requirement is unavailable and `CODEX_REQUIRE` lists it.
pub fn or_skip<T>(requirement: &str, test: &str, wanted: Result<T, Unavailable>) -> Option<T> {
    crate::secret_audit::listen();
    settle(requirement, is_required(requirement), test, wanted)
}

fn settle<T>(requirement: &str, required: bool, test: &str, wanted: Result<T, Unavailable>) -> Option<T> {
    match wanted {
        Ok(wanted) => Some(wanted),
        Err(reason) => {
            assert!(
                !required,
                "CODEX_REQUIRE lists {requirement}, which is not to be had: {reason}"
            );
            skip(test, &reason);
            None
        }
    }
}

/// Reports that `test` was skipped, in the format that scripts count.
pub(crate) fn skip(test: &str, reason: &dyn fmt::Display) {
    // Written directly to the stream, because the test harness captures the output of the print
    // macros. The leading line break is needed because, with a single thread, the line already
    // holds the test's name. A closed stream is ignored.
    let _ = write!(std::io::stderr(), "\nCODEX-SKIPPED {}: {reason}\n", test_path(test));
}

/// Returns the path of a test from the type name of an item inside it.
fn test_path(type_name: &str) -> &str {
    let path = type_name.strip_suffix("::here").unwrap_or(type_name);
    path.trim_end_matches("::{{closure}}")
}

/// Returns the requirement of a test, or reports that the test is skipped and returns from it; see
/// [the module](mod@crate::require).
///
/// The first argument names the requirement. The second is a `Result<T, Unavailable>`. The
/// enclosing function must return `()`.
///
/// ```
/// use codex_testkit::require::Unavailable;
///
/// fn a_test_with_all_it_needs() {
///     let answer = codex_testkit::require!("oracle", Ok(42));
///     assert_eq!(answer, 42);
/// }
///
/// fn a_test_that_is_skipped() {
///     let oracle: Result<(), _> = Err(Unavailable::new("no oracle on this machine"));
///     let nothing: () = codex_testkit::require!("oracle", oracle);
///     unreachable!();
/// }
/// # a_test_with_all_it_needs();
/// # a_test_that_is_skipped();
/// ```
#[macro_export]
macro_rules! require {
    ($requirement:expr, $wanted:expr $(,)?) => {{
        // The type name of a local item contains the test's name, whatever thread runs it.
        fn here() {}
        match $crate::require::or_skip($requirement, ::std::any::type_name_of_val(&here), $wanted) {
            ::std::option::Option::Some(wanted) => wanted,
            ::std::option::Option::None => return,
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_is_an_item_of_the_list() {
        for (list, required) in [
            ("redis", true),
            ("docker,redis", true),
            ("docker redis", true),
            ("redis2", false),
            ("", false),
        ] {
            assert_eq!(lists(list, "redis"), required, "{list}");
        }
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(Unavailable::new("first\n  second\n").to_string(), "first | second");
    }

    #[test]
    fn the_path_of_a_test_is_found_in_plain_and_in_async_functions() {
        fn here() {}
        let name = test_path(std::any::type_name_of_val(&here));
        assert!(
            name.ends_with("the_path_of_a_test_is_found_in_plain_and_in_async_functions"),
            "{name}"
        );
        assert_eq!(
            test_path("crate::tests::get_01::{{closure}}::here"),
            "crate::tests::get_01"
        );
    }

    #[test]
    #[should_panic(expected = "CODEX_REQUIRE lists oracle, which is not to be had: tried in vain")]
    fn what_is_required_and_missing_fails_the_test() {
        settle::<()>("oracle", true, "x", Err(Unavailable::new("tried in vain")));
    }
}
