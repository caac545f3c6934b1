//! Running clauses.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    pin::pin,
    time::{Duration, Instant},
};

use codex_traits::KvBackend;
use futures_util::{
    FutureExt,
    future::{self, Either},
};

use crate::{
    ClauseId, Event, Harness, Outcome, Report, TimedReport, UnknownClause,
    contract::Contract,
    failure::{Checked, Failure},
    list::BackendContract,
    require::{self, Unavailable},
    runtime::{panic_message, runtime, sleep},
};

/// No clause needs a tenth of it: what takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// Runs every clause on the backends of `harness`, one after another.
///
/// A clause that panics has failed. Works on any executor; tasks that race are started on a tokio runtime of the kit's own, unless
/// the caller is on a multi-threaded one.
pub async fn run<H: Harness>(harness: &H) -> Report {
    run_only(harness, ClauseId::all()).await
}

/// Runs `clauses` on the backends of `harness`, one after another.
///
/// A run of no clauses is a failure.
pub async fn run_only<H: Harness>(harness: &H, clauses: impl IntoIterator<Item = ClauseId>) -> Report {
    run_with(harness, clauses, |_| ()).await.into_report()
}

/// Runs `clauses` on the backends of `harness`, one after another, takes the time of each, and tells `observer` of each when it begins and
/// when it is done. [`Progress`](crate::Progress) is an observer for a terminal.
///
/// A run of no clauses is a failure.
pub async fn run_with<H: Harness>(
    harness: &H,
    clauses: impl IntoIterator<Item = ClauseId>,
    observer: impl FnMut(Event<'_>) + Send,
) -> TimedReport {
    run_contract::<BackendContract, H>(harness, clauses, &[], observer).await
}

/// As [`run_with`], where some clauses are known not to hold, each with the reason: such a clause is [`Outcome::Skipped`] with that reason as long as
/// it fails, and has failed as soon as it holds or does not apply, so that the list is never longer than it has to be.
///
/// What `failures` says of a clause that is not run is not looked at.
pub async fn run_expecting<H: Harness>(
    harness: &H,
    clauses: impl IntoIterator<Item = ClauseId>,
    failures: &[(ClauseId, &'static str)],
    observer: impl FnMut(Event<'_>) + Send,
) -> TimedReport {
    run_contract::<BackendContract, H>(harness, clauses, failures, observer).await
}

/// Runs `clauses` of a contract, as [`run_expecting`].
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
        let outcome = run_clause::<C, H>(harness, id).await;
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

/// Runs one clause.
pub(crate) async fn run_clause<C: Contract, H: Harness>(harness: &H, id: ClauseId) -> Outcome {
    let checked = pin!(AssertUnwindSafe(check::<C, H>(harness, id)).catch_unwind());
    let limit = pin!(sleep(TIME_LIMIT));
    let checked = match future::select(checked, limit).await {
        Either::Left((Ok(checked), _)) => checked,
        Either::Left((Err(payload), _)) => Err(Failure::Broken(format!("panicked: {}", panic_message(&*payload)))),
        Either::Right(_) => Err(hangs()),
    };
    match checked {
        Ok(()) => Outcome::Passed,
        Err(Failure::Broken(message)) => Outcome::Failed(message),
        Err(Failure::NotApplicable(reason)) => Outcome::Skipped(reason),
    }
}

/// What a clause that is known not to hold has come to.
fn expected_to_fail(outcome: &Outcome, reason: &'static str) -> Outcome {
    match outcome {
        Outcome::Failed(_) => Outcome::Skipped(reason),
        Outcome::Passed => Outcome::Failed(format!("is expected to fail ({reason}), and holds")),
        Outcome::Skipped(why) => Outcome::Failed(format!("is expected to fail ({reason}), and does not apply: {why}")),
    }
}

fn hangs() -> Failure {
    Failure::Broken(format!("was not done in {TIME_LIMIT:?}"))
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

/// The body of a test that `conformance_tests!` makes.
///
/// # Panics
///
/// Where the clause does not hold or does not apply.
#[track_caller]
pub fn test<C, H, F>(harness: F, requirement: &str, test: &str, ident: &str)
where
    C: Contract,
    H: Harness + 'static,
    F: FnOnce() -> Result<H, Unavailable>,
{
    let id = C::clause(ident).unwrap_or_else(|error| panic!("{error}"));
    let Some(harness) = require::or_skip(requirement, test, make(harness)) else {
        return;
    };
    match run_apart::<C, H>(harness, id) {
        Outcome::Passed => {}
        Outcome::Failed(message) => panic!("{id} ({}) does not hold: {message}", id.text()),
        Outcome::Skipped(reason) => panic!(
            "{id} ({}) does not apply: {reason}. If that is right, list it: skip: {{ {}: \"why\" }}",
            id.text(),
            id.ident()
        ),
    }
}

/// The body of the test that looks at the lists themselves: every clause on them exists, is on one of them once, and does not apply, if it is on
/// `skips`, or does not hold, if it is on `fails`.
///
/// # Panics
///
/// Where that is not so.
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
            (Outcome::Skipped(_), false) | (Outcome::Failed(_), true) => {}
            (Outcome::Passed, false) => faults.push(format!("{ident} is listed, but applies and holds")),
            (Outcome::Failed(message), false) => {
                faults.push(format!("{ident} is listed, but applies, and does not hold: {message}"));
            }
            (Outcome::Passed, true) => faults.push(format!("{ident} is listed as failing, but holds")),
            (Outcome::Skipped(reason), true) => {
                faults.push(format!("{ident} is listed as failing, but does not apply: {reason}"));
            }
        }
    }
    assert!(faults.is_empty(), "the skip list is wrong: {}", faults.join("; "));
}

/// A harness may want to spawn or block while it is made: inside the runtime, and outside of its tasks, it can do both.
fn make<H>(harness: impl FnOnce() -> H) -> H {
    let _inside = runtime().enter();
    harness()
}

/// Runs a clause on a task of the kit's runtime, so that the test ends even where the backend blocks the thread for good.
fn run_apart<C: Contract, H: Harness + 'static>(harness: H, id: ClauseId) -> Outcome {
    let task = runtime().spawn(async move { run_clause::<C, H>(&harness, id).await });
    runtime().block_on(async {
        match tokio::time::timeout(TIME_LIMIT + Duration::from_secs(10), task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Failed(format!("the clause's task died: {error}")),
            Err(_) => Outcome::Failed("blocked its thread and did not end".to_owned()),
        }
    })
}
