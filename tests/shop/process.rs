//! Programs that end with the test, however that ends.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::SystemTime,
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
    /// What it said.
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

/// `examples/web`, as `cargo test` has built it.
pub(crate) struct Shop {
    process: Process,
    /// What it runs on, for the names of screenshots.
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
        let process = Process::start(&example(), configure, |line| line.starts_with("http://"));
        Self { process, name }
    }

    pub(crate) fn url(&self) -> &str {
        &self.process.line
    }
}

/// Beside this test's own binary. Cargo builds it with the tests, but not where it was told to
/// build one test alone.
fn example() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let example = this.parent().unwrap().parent().unwrap().join("examples/web");
    let built = fs::metadata(&example).and_then(|metadata| metadata.modified());
    let sources = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/web")).unwrap();
    let changed = sources.map(|source| source.unwrap().metadata().unwrap().modified().unwrap());
    assert!(
        built.is_ok_and(|built| changed.max().is_some_and(|changed: SystemTime| changed <= built)),
        "examples/web is not built, or older than its sources: `cargo build --example web` first"
    );
    example
}
