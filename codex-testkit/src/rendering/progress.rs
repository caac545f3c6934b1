//! The progress of a run, line by line.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write},
};

use super::{
    readable,
    text::{heading, visible},
};
use crate::{Event, Outcome};

/// The style of the lines that [`Progress`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressStyle {
    /// A line for each finished clause, for a log.
    Plain,
    /// Coloured lines, the last of which shows the running clause.
    Terminal,
}

/// A writer of the events of [`run_with`](crate::run_with) as lines for people. The reason for a
/// failure follows immediately.
///
/// Output that cannot be written is dropped: a closed pipe does not end the run.
///
/// ```
/// # use codex_testkit::{ClauseId, Event, Outcome, Progress, ProgressStyle};
/// let mut progress = Progress::new(Vec::new(), ProgressStyle::Plain);
/// // codex_testkit::run_with(&harness, ClauseId::all(), |event| progress.show(&event)).await;
/// ```
pub struct Progress<W> {
    out: W,
    style: ProgressStyle,
    group: &'static str,
}

impl Progress<io::Stdout> {
    /// Creates a writer to standard output. Its style is [`ProgressStyle::Terminal`] if standard
    /// output is a terminal and the environment variable `NO_COLOR` is unset or empty.
    pub fn on_stdout() -> Self {
        let out = io::stdout();
        let plain = !out.is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = if plain {
            ProgressStyle::Plain
        } else {
            ProgressStyle::Terminal
        };
        Self::new(out, style)
    }
}

impl<W: Write> Progress<W> {
    /// Creates a writer to `out`.
    pub fn new(out: W, style: ProgressStyle) -> Self {
        Self { out, style, group: "" }
    }

    /// Writes the lines for `event`.
    pub fn show(&mut self, event: &Event<'_>) {
        let text = match self.style {
            ProgressStyle::Plain => self.plain(event),
            ProgressStyle::Terminal => self.coloured(event),
        };
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    fn plain(&mut self, event: &Event<'_>) -> String {
        match event {
            Event::Started { id, .. } => self.heading(id.group(), ""),
            Event::Running { id, took, .. } => format!("  {id}  running {:>8}  {}\n", readable(*took), waiting(event)),
            Event::Finished { id, outcome, took, .. } => {
                let (word, reason) = described(outcome);
                let mut text = format!("  {id}  {word:<7} {:>8}  {}\n", readable(*took), id.text());
                for line in reason.iter().flat_map(|reason| reason.lines()) {
                    let _ = writeln!(text, "           {}", visible(line));
                }
                text
            }
        }
    }

    fn coloured(&mut self, event: &Event<'_>) -> String {
        /// Moves to the beginning of the line and erases the line (ECMA-48).
        const CLEAR: &str = "\r\x1b[2K";
        const DIM: &str = "\x1b[2m";
        const BOLD: &str = "\x1b[1m";
        const RESET: &str = "\x1b[0m";
        match event {
            Event::Started { id, number, of } => format!(
                "{}{DIM}  {id}  running  [{number}/{of}]  {}{RESET}",
                self.heading(id.group(), BOLD),
                shortened(id.text()),
            ),
            Event::Running {
                id, number, of, took, ..
            } => format!(
                "{CLEAR}{DIM}  {id}  running {:>8}  [{number}/{of}]  {}{RESET}",
                readable(*took),
                waiting(event),
            ),
            Event::Finished { id, outcome, took, .. } => {
                let (word, reason) = described(outcome);
                let colour = match outcome {
                    Outcome::Passed => "\x1b[32m",
                    Outcome::Skipped(_) => "\x1b[33m",
                    Outcome::Failed(_) => "\x1b[1;31m",
                };
                let mut text = format!(
                    "{CLEAR}  {id}  {colour}{word:<7}{RESET} {DIM}{:>8}{RESET}  {}\n",
                    readable(*took),
                    shortened(id.text()),
                );
                for line in reason.iter().flat_map(|reason| reason.lines()) {
                    let _ = writeln!(text, "           {colour}{}{RESET}", visible(line));
                }
                text
            }
        }
    }

    fn heading(&mut self, group: &'static str, style: &str) -> String {
        if group == self.group {
            return String::new();
        }
        self.group = group;
        let reset = if style.is_empty() { "" } else { "\x1b[0m" };
        format!("{style}{}{reset}\n", heading(group))
    }
}

impl<W> fmt::Debug for Progress<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}

/// Returns the calls of a slow clause so far, and the call that it waits for.
fn waiting(event: &Event<'_>) -> String {
    let Event::Running { calls, waits_for, .. } = event else {
        return String::new();
    };
    let calls = if *calls == 0 {
        String::new()
    } else {
        format!("{calls} calls so far")
    };
    match waits_for {
        Some((verb, waits)) => format!("{calls}, waiting for `{verb}` for {}", readable(*waits)),
        None => calls,
    }
}

fn described(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Skipped(reason) => ("skipped", Some(reason)),
        Outcome::Failed(message) => ("FAILED", Some(message)),
    }
}

/// Shortens `text` so that its line fits a terminal of a hundred columns. A wrapped line could not
/// be cleared.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 68;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}
