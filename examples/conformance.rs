//! The conformance suite on any server, with reports for people and for programs.
//!
//! ```text
//! cargo run --features testkit-redis --example conformance -- [URL] [--html FILE] [--json FILE] \
//!     [--junit FILE] [CLAUSE...]
//! ```
//!
//! Without a URL it runs on the memory backend. On a server it uses only empty databases, and
//! empties them again. If the URL names a database, it uses only that database. Before the first
//! write it determines how to empty a database and which commands the server refuses. For the
//! clauses about outages it puts a proxy in front of the server.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::{env, fs, process::ExitCode};

use codex_kv::{
    memory::{ManualClock, MemoryBackend},
    testkit::{ClauseId, Harness, InProcess, Progress, TimedReport, VirtualTime, redis::ServerHarness, run_with},
};

const USAGE: &str = "usage: conformance [URL] [--html FILE] [--json FILE] [--junit FILE] [CLAUSE...]
URL is redis://HOST:PORT[/DATABASE] or redis+unix:///SOCKET[?db=DATABASE]; without one, the suite runs on the memory backend.
A clause is an id such as get-01; without one, all clauses run.";

#[derive(Default)]
struct Arguments {
    url: Option<String>,
    clauses: Vec<ClauseId>,
    html: Option<String>,
    json: Option<String>,
    junit: Option<String>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    while let Some(argument) = arguments.next() {
        let file = match argument.as_str() {
            "--html" => &mut parsed.html,
            "--json" => &mut parsed.json,
            "--junit" => &mut parsed.junit,
            url if url.contains("://") && parsed.url.is_none() => {
                parsed.url = Some(argument);
                continue;
            }
            clause => {
                parsed
                    .clauses
                    .push(clause.parse().map_err(|error| format!("{error}\n{USAGE}"))?);
                continue;
            }
        };
        *file = Some(
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a file\n{USAGE}"))?,
        );
    }
    if parsed.clauses.is_empty() {
        parsed.clauses = ClauseId::all().collect();
    }
    Ok(parsed)
}

/// Returns a harness of memory backends that share a clock, which the suite advances.
fn memory() -> impl Harness<Backend = MemoryBackend> {
    let clock = ManualClock::new();
    let moved = clock.clone();
    let time = VirtualTime::from_fn(move |by| moved.advance(by));
    InProcess::new(time, move || MemoryBackend::with_clock(clock.clone()))
}

async fn run(harness: &impl Harness, clauses: Vec<ClauseId>) -> TimedReport {
    let mut progress = Progress::on_stdout();
    run_with(harness, clauses, |event| progress.show(&event)).await
}

async fn conformance(mut arguments: Arguments) -> Result<TimedReport, String> {
    let Some(url) = arguments.url else {
        return Ok(run(&memory(), arguments.clauses).await.about("memory://"));
    };
    let harness = ServerHarness::on(&url, |url| async move { codex_kv::connect(&url).await })
        .map_err(|reason| format!("nothing was run: {reason}"))?;
    let checked_and_run = async {
        let checked = harness.check_commands().await;
        checked.map_err(|reason| format!("nothing was run: {reason}"))?;
        if harness.is_confined() {
            println!("set-05 is skipped: it needs two empty databases at a time, and only one is available");
            arguments.clauses.retain(|clause| clause.ident() != "set_05");
        }
        Ok(run(&harness, arguments.clauses).await.about(without_credentials(&url)))
    };
    tokio::select! {
        report = checked_and_run => report,
        // An interrupted run leaves no keys behind either.
        _ = tokio::signal::ctrl_c() => Err(match harness.clean_up().await {
            Ok(()) => "interrupted; the databases are empty again".to_owned(),
            Err(left) => format!("interrupted; {left}"),
        }),
    }
}

fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

fn write(file: Option<&String>, text: impl FnOnce() -> String) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, text()).map_err(|error| format!("{file} could not be written: {error}"))?;
    println!("wrote {file}");
    Ok(())
}

async fn run_and_report() -> Result<bool, String> {
    if env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return Ok(true);
    }
    let arguments = parse(env::args().skip(1))?;
    let (html, json, junit) = (arguments.html.clone(), arguments.json.clone(), arguments.junit.clone());
    let report = conformance(arguments).await?;
    println!("{}", report.summary());
    write(html.as_ref(), || report.to_html())?;
    write(json.as_ref(), || report.to_json())?;
    write(junit.as_ref(), || report.to_junit())?;
    Ok(!report.failed())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_and_report().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
