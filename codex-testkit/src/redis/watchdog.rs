//! A process that outlives ours, to clean up after it.

use std::{
    ffi::OsStr,
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

/// A shell whose standard input is a pipe that only this process holds: its end is our end, whether
/// by return, panic, abort or SIGKILL. Statics are not dropped and a killed process runs nothing,
/// so no `Drop` could do this.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Runs `script` with `arguments` as `$1`, `$2`, …; it is to clean up at the end of its
    /// standard input.
    pub(super) fn start<S: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", script, "codex-watchdog"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: an interrupt at the terminal is for the tests, and the watchdog
            // has to see their end.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Returns whether the script has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// Lets it clean up, and returns when it has.
    pub(super) fn end(&mut self) {
        drop(self.shell.stdin.take());
        // It fails only where the shell was waited for before.
        let _ = self.shell.wait();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end();
    }
}
