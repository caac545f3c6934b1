//! Programs that end with the test, however that ends.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Runs a program until standard input ends, which it does with whoever started this.
const SCRIPT: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
program=$!
read -r _ <&3
kill "$program"
wait "$program" 2>/dev/null
"#;

/// A program that says in a line of its standard output that it is there.
pub(crate) struct Process {
    shell: Child,
    input: Option<ChildStdin>,
    /// Its output.
    pub(crate) line: String,
}

impl Process {
    /// Runs it and waits for the line that `is_it` knows.
    pub(crate) fn start(program: &Path, configure: impl FnOnce(&mut Command), is_it: impl Fn(&str) -> bool) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(program);
        configure(&mut command);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = shell.stdin.take();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let line = lines.by_ref().map_while(Result::ok).find(|line| is_it(line));
        let line = line.unwrap_or_else(|| panic!("{} ended before it was there", program.display()));
        // Read on, so that it does not stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { shell, input, line }
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
    /// The store that it runs on, for the names of screenshots.
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
        // Cargo sets it for tests of the package that has the program; tests/frameworks shares this
        // file and never starts the shop.
        let Some(program) = option_env!("CARGO_BIN_EXE_shop") else {
            panic!("the shop belongs to the package of the example");
        };
        let process = Process::start(Path::new(program), configure, |line| line.starts_with("http://"));
        Self { process, name }
    }

    pub(crate) fn url(&self) -> &str {
        &self.process.line
    }
}
