//! Separate processes for clauses that measure the memory of their process.

use std::{
    env,
    io::{self, Write as _},
    process::Command,
};

/// Marks the process that runs one test alone.
const ALONE: &str = "CODEX_TESTKIT_ALONE";

/// Runs `test`, the path of a test in this program, in a separate process. If the test failed,
/// returns the standard error of that process.
///
/// Returns `None` if this is that process, or if the program does not use Rust's test harness. The
/// caller then runs the test itself.
pub(crate) fn run(test: &str) -> Option<Result<(), String>> {
    if env::var_os(ALONE).is_some() {
        return None;
    }
    // Rust's test harness omits the name of the crate.
    let (_, name) = test.split_once("::")?;
    let mut command = Command::new(env::current_exe().ok()?);
    command
        .args([name, "--exact", "--include-ignored", "--nocapture"])
        .env(ALONE, "1");
    let output = command.output().ok()?;
    if !String::from_utf8_lossy(&output.stdout).contains("running 1 test\n") {
        return None;
    }
    if output.status.success() {
        // Bypasses the capture of the test harness, because the lines about skipped tests are
        // counted.
        let _ = io::stderr().write_all(&output.stderr);
        return Some(Ok(()));
    }
    Some(Err(String::from_utf8_lossy(&output.stderr).into_owned()))
}
