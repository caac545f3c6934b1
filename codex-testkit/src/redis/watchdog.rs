//! A process that outlives this process and cleans up after it.

use std::{
    ffi::OsStr,
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

/// A shell whose standard input is a pipe that only this process holds. The pipe closes when this
/// process ends, whether by return, panic, abort or SIGKILL. A `Drop` alone would not suffice,
/// because statics are not dropped and a killed process runs no code.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Runs `script` with `arguments` as `$1`, `$2`, …. The script must clean up at the end of its
    /// standard input.
    pub(super) fn start<S: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", script, "codex-watchdog"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt at the terminal ends the process group of the tests. The watchdog must
            // outlive them, so it has a group of its own.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Returns whether the script has ended on its own.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// Makes the script clean up, and waits until it has ended.
    pub(super) fn end(&mut self) {
        drop(self.shell.stdin.take());
        // An error would mean that the shell is already gone.
        let _ = self.shell.wait();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end();
    }
}
