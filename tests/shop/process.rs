//! Child processes that always end with the test.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// A script that runs a program until it ends or standard input closes, which happens when the
/// parent process ends.
const SCRIPT: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
program=$!
{ read -r _ <&3; kill "$program"; } >/dev/null 2>&1 &
reader=$!
wait "$program" 2>/dev/null
kill "$reader" 2>/dev/null
"#;

/// A program that announces on standard output that it is ready.
pub(crate) struct Process {
    shell: Child,
    input: Option<ChildStdin>,
    /// The line that announced it.
    pub(crate) line: String,
}

impl Process {
    /// Runs the program and waits for the line that `is_it` accepts. Returns `None` if the program
    /// ends first.
    pub(crate) fn start(
        program: &Path,
        configure: impl FnOnce(&mut Command),
        is_it: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(program);
        configure(&mut command);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = shell.stdin.take();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let line = lines.by_ref().map_while(Result::ok).find(|line| is_it(line));
        let Some(line) = line else {
            let _ = shell.wait();
            return None;
        };
        // Keep reading, so that the program does not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { shell, input, line })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

/// The program of `examples/web`.
pub(crate) struct Shop {
    process: Process,
    /// The store of the shop, for the names of screenshots.
    pub(crate) name: &'static str,
}

impl Shop {
    pub(crate) fn start(name: &'static str, redis_url: &str) -> Self {
        let configure = |command: &mut Command| {
            command
                .env("REDIS_URL", redis_url)
                .env("PORT", "0")
                .env("SECRET_KEY", "a secret of the tests");
        };
        // Cargo sets this variable only for the package that contains the program.
        // `tests/frameworks` shares this file and never starts the shop.
        let Some(program) = option_env!("CARGO_BIN_EXE_shop") else {
            panic!("the shop belongs to the package of the example");
        };
        let process = Process::start(Path::new(program), configure, |line| line.starts_with("http://"));
        Self {
            process: process.expect("the shop starts"),
            name,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.process.line
    }
}

#[test]
fn a_program_that_ends_before_its_line_is_not_waited_for() {
    assert!(Process::start(Path::new("true"), |_| (), |_| true).is_none());
}
