//! Runs of clauses.

use std::{
    collections::BTreeSet,
    future::Future,
    io::{self, Write as _},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use codex_traits::KvBackend;
use futures_util::future::{self, Either};

use crate::{
    ClauseId, Event, Harness, Outcome, Report, TimedReport, UnknownClause,
    activity::Activity,
    alone,
    contract::Contract,
    failure::{Checked, Failure},
    list::BackendContract,
    pace,
    remote_harness::RemoteHarness,
    require::{self, Unavailable},
    runtime::runtime,
    supervise,
};

/// The clauses that measure memory. Other tests in the same process would distort the result.
const MEASURE_MEMORY: [&str; 1] = ["scan_07"];

/// Runs every clause on the backends of `harness`, in sequence.
///
/// A clause fails if it panics or does not finish within [`Harness::time_limit`]. No clause can
/// hang the run: each runs on a thread of its own, inside a tokio runtime of the kit that no other
/// running clause uses. If a clause blocks its thread, the thread is abandoned. `harness` itself
/// runs on the caller's executor, which can be any executor.
pub async fn run<H: Harness>(harness: &H) -> Report {
    run_only(harness, ClauseId::all()).await
}

/// Runs `clauses` on the backends of `harness`, in sequence.
///
/// A run of no clauses is a failure.
pub async fn run_only<H: Harness>(harness: &H, clauses: impl IntoIterator<Item = ClauseId>) -> Report {
    run_with(harness, clauses, |_| ()).await.into_report()
}

/// Runs `clauses` on the backends of `harness`, in sequence, and measures the time of each clause.
/// Calls `observer` when a clause begins, from time to time while it runs, and when it is done.
/// [`Progress`](crate::Progress) prints these events.
///
/// A run of no clauses is a failure.
pub async fn run_with<H: Harness>(
    harness: &H,
    clauses: impl IntoIterator<Item = ClauseId>,
    observer: impl FnMut(Event<'_>) + Send,
) -> TimedReport {
    run_contract::<BackendContract, H>(harness, clauses, &[], observer).await
}

/// Runs clauses as [`run_with`] does. `failures` lists clauses that are known to fail, each with
/// the reason. Such a clause is [`Outcome::Skipped`] with that reason as long as it fails. It
/// counts as failed as soon as it holds or does not apply, so that no entry of the list outlives
/// its reason.
///
/// Entries of `failures` for clauses that are not run are ignored.
pub async fn run_expecting<H: Harness>(
    harness: &H,
    clauses: impl IntoIterator<Item = ClauseId>,
    failures: &[(ClauseId, &'static str)],
    observer: impl FnMut(Event<'_>) + Send,
) -> TimedReport {
    run_contract::<BackendContract, H>(harness, clauses, failures, observer).await
}

/// Runs `clauses` of a contract, as [`run_expecting`] does.
pub async fn run_contract<C: Contract, H: Harness>(
    harness: &H,
    clauses: impl IntoIterator<Item = ClauseId>,
    failures: &[(ClauseId, &'static str)],
    mut observer: impl FnMut(Event<'_>) + Send,
) -> TimedReport {
    let clauses: Vec<ClauseId> = clauses.into_iter().collect();
    let of = clauses.len();
    let mut report = Report::default();
    let mut times = Vec::with_capacity(of);
    let beginning = Instant::now();
    for (at, id) in clauses.into_iter().enumerate() {
        let number = at + 1;
        observer(Event::Started { id, number, of });
        let start = Instant::now();
        let outcome = run_clause::<C, H>(harness, id, |activity| {
            let summary = activity.summary();
            observer(Event::Running {
                id,
                number,
                of,
                took: activity.elapsed(),
                calls: summary.calls,
                waits_for: summary.oldest,
            });
        })
        .await;
        let outcome = match failures.iter().find(|(failing, _)| *failing == id) {
            Some((_, reason)) => expected_to_fail(&outcome, reason),
            None => outcome,
        };
        let took = start.elapsed();
        observer(Event::Finished {
            id,
            number,
            of,
            outcome: &outcome,
            took,
        });
        report.outcomes.push((id, outcome));
        times.push(took);
    }
    TimedReport::new(report, times, beginning.elapsed())
}

/// Runs a clause on a borrowed harness.
async fn run_clause<C: Contract, H: Harness>(harness: &H, id: ClauseId, tick: impl FnMut(&Activity) + Send) -> Outcome {
    let (remote, asks) = RemoteHarness::of(harness);
    let outcome = pin!(supervised::<C, _>(Arc::new(remote), id, harness.time_limit(), tick));
    let served = pin!(asks.serve(harness));
    let checked = match future::select(outcome, served).await {
        Either::Left((checked, _)) => checked,
        Either::Right(((), _)) => unreachable!("a harness is served until the clause is done"),
    };
    match cleaned_up(harness.clean_up(), checked).await {
        Ok(()) => Outcome::Passed,
        Err(Failure::Broken(message)) => Outcome::Failed(message),
        Err(Failure::NotApplicable(reason) | Failure::Avoided(reason)) => Outcome::Skipped(reason),
    }
}

/// Runs a clause on a thread of its own.
async fn supervised<C: Contract, H: Harness + 'static>(
    harness: Arc<H>,
    id: ClauseId,
    limit: Duration,
    tick: impl FnMut(&Activity) + Send,
) -> Checked {
    let name = id.to_string();
    let clause = async move {
        let activity = Activity::current();
        // Bypasses the capture of the test harness, so that a busy machine does not go unnoticed.
        let report = |delay: Duration| {
            let _ = writeln!(
                io::stderr(),
                "{id} failed while a timer of this process was {delay:?} late, and runs again"
            );
        };
        pace::repeated(activity.pace(), report, || check::<C, H>(&*harness, id)).await
    };
    supervise::start(&name, clause)?.outcome(limit, tick).await
}

/// Cleans up after a clause. A clause that leaves data behind fails, regardless of its own outcome.
async fn cleaned_up(clean_up: impl Future<Output = Result<(), String>>, checked: Checked) -> Checked {
    match (clean_up.await, checked) {
        (Ok(()), checked) => checked,
        (Err(left), Err(Failure::Broken(message))) => Err(Failure::Broken(format!("{message}\n\n{left}"))),
        (Err(left), _) => Err(Failure::Broken(left)),
    }
}

/// Returns the outcome to report for a clause that is known to fail.
fn expected_to_fail(outcome: &Outcome, reason: &'static str) -> Outcome {
    match outcome {
        Outcome::Failed(_) => Outcome::Skipped(reason),
        Outcome::Passed => Outcome::Failed(format!("is expected to fail ({reason}), and holds")),
        Outcome::Skipped(why) => Outcome::Failed(format!("is expected to fail ({reason}), and does not apply: {why}")),
    }
}

async fn check<C: Contract, H: Harness>(harness: &H, id: ClauseId) -> Checked {
    if let Some(capability) = id.capability()
        && !harness.fresh().await.capabilities().contains(capability)
    {
        return Err(Failure::NotApplicable(undeclared(capability)));
    }
    C::check(id, harness).await
}

fn undeclared(capability: codex_traits::Capability) -> &'static str {
    use codex_traits::Capability as C;
    match capability {
        C::LargeValues => "the backend does not declare the capability large_values",
        C::ForeignTypes => "the backend does not declare the capability foreign_types",
        C::AtomicMany => "the backend does not declare the capability atomic_many",
        C::Cluster => "the backend does not declare the capability cluster",
        C::AtomicGetWithTtl => "the backend does not declare the capability atomic_get_with_ttl",
        C::Durable => "the backend does not declare the capability durable",
        _ => "the backend does not declare the capability that the clause is about",
    }
}

/// Runs the body of a test that `conformance_tests!` generates.
///
/// # Panics
///
/// If the clause does not hold or does not apply.
#[track_caller]
pub fn test<C, H, F>(harness: F, requirement: &str, test: &str, ident: &str)
where
    C: Contract,
    H: Harness + 'static,
    F: FnOnce() -> Result<H, Unavailable>,
{
    let id = C::clause(ident).unwrap_or_else(|error| panic!("{error}"));
    if MEASURE_MEMORY.contains(&ident)
        && let Some(outcome) = alone::run(test)
    {
        return outcome.unwrap_or_else(|shown| panic!("{id} failed in a process of its own:\n{shown}"));
    }
    let Some(harness) = require::or_skip(requirement, test, make(harness)) else {
        return;
    };
    match run_apart::<C, H>(harness, id) {
        Ok(()) => {}
        Err(Failure::Broken(message)) => panic!("{id} ({}) does not hold: {message}", id.text()),
        Err(Failure::Avoided(reason)) => require::skip(test, &reason),
        Err(Failure::NotApplicable(reason)) => panic!(
            "{id} ({}) does not apply: {reason}. If that is right, list it: skip: {{ {}: \"why\" }}",
            id.text(),
            id.ident()
        ),
    }
}

/// Runs the body of the test that checks the lists themselves. Every listed clause must exist and
/// be listed once. A clause in `skips` must not apply. A clause in `fails` must not hold. A clause
/// that would harm the store is not checked.
///
/// # Panics
///
/// If one of these conditions is violated.
#[track_caller]
pub fn test_lists<C, H, F>(harness: F, requirement: &str, test: &str, skips: &[&str], fails: &[&str])
where
    C: Contract,
    H: Harness + 'static,
    F: Fn() -> Result<H, Unavailable>,
{
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let listed = skips.iter().map(|ident| (ident, false));
    for (ident, must_fail) in listed.chain(fails.iter().map(|ident| (ident, true))) {
        if !seen.insert(ident) {
            faults.push(format!("{ident} is listed twice"));
            continue;
        }
        let id = match C::clause(ident) {
            Ok(id) => id,
            Err(error) => {
                faults.push(UnknownClause::to_string(&error));
                continue;
            }
        };
        let Some(harness) = require::or_skip(requirement, test, make(&harness)) else {
            return;
        };
        match (run_apart::<C, H>(harness, id), must_fail) {
            (Err(Failure::NotApplicable(_)), false)
            | (Err(Failure::Broken(_)), true)
            | (Err(Failure::Avoided(_)), _) => {}
            (Ok(()), false) => faults.push(format!("{ident} is listed, but applies and holds")),
            (Err(Failure::Broken(message)), false) => {
                faults.push(format!("{ident} is listed, but applies, and does not hold: {message}"));
            }
            (Ok(()), true) => faults.push(format!("{ident} is listed as failing, but holds")),
            (Err(Failure::NotApplicable(reason)), true) => {
                faults.push(format!("{ident} is listed as failing, but does not apply: {reason}"));
            }
        }
    }
    assert!(faults.is_empty(), "the skip list is wrong: {}", faults.join("; "));
}

/// Makes the harness inside the runtime but outside of its tasks, where it can both spawn tasks and
/// block.
fn make<H>(harness: impl FnOnce() -> H) -> H {
    let _inside = runtime().enter();
    harness()
}

/// Runs a clause on an owned harness.
fn run_apart<C: Contract, H: Harness + 'static>(harness: H, id: ClauseId) -> Checked {
    let harness = Arc::new(harness);
    runtime().block_on(async {
        let checked = supervised::<C, H>(harness.clone(), id, harness.time_limit(), |_| ()).await;
        cleaned_up(harness.clean_up(), checked).await
    })
}
