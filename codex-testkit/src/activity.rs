//! The calls of a running clause, to explain a clause that does not finish and to show progress.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{doubles::Verb, pace::Pace};

/// A poll that lasts this long counts as blocking its thread.
const BLOCKED: Duration = Duration::from_secs(1);

/// The calls of one clause.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    calls: Mutex<Calls>,
    /// The poll of the clause itself.
    clause: Poll,
    is_given_up: AtomicBool,
    pace: Arc<Pace>,
}

#[derive(Debug, Default)]
struct Calls {
    begun: u64,
    in_flight: BTreeMap<u64, (Verb, Duration, Arc<Poll>)>,
    last_answer: Option<(Verb, Duration)>,
}

/// The start of a poll, in milliseconds since the start of the clause, plus 1. Zero outside a poll.
#[derive(Debug, Default)]
struct Poll(AtomicU64);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Activity>>> = const { RefCell::new(None) };
}

/// The calls that a clause has made so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) calls: u64,
    /// The call that has waited longest for its answer, with its waiting time.
    pub(crate) oldest: Option<(Verb, Duration)>,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            calls: Mutex::default(),
            clause: Poll::default(),
            is_given_up: AtomicBool::new(false),
            pace: Arc::default(),
        })
    }

    /// Returns the activity of the clause that this thread is polling, or an unused activity.
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.with_borrow(Clone::clone).unwrap_or_else(Self::new)
    }

    /// Polls the clause. [`current`](Self::current) returns this activity during the poll.
    pub(crate) async fn of_clause<T>(self: Arc<Self>, clause: impl Future<Output = T> + Send) -> T {
        let mut clause = pin!(clause);
        poll_fn(|cx| {
            let before = CURRENT.replace(Some(self.clone()));
            let polled = self.clause.during(&self.start, || clause.as_mut().poll(cx));
            CURRENT.set(before);
            polled
        })
        .await
    }

    /// Runs a call to the backend. The call is in flight until it is answered or dropped.
    ///
    /// No call begins after the clause is given up, so that its store can be emptied.
    pub(crate) async fn of_call<T>(&self, verb: Verb, call: impl Future<Output = T> + Send) -> T {
        if self.is_given_up() {
            pending::<()>().await;
        }
        let call_number = InFlight::begin(self, verb);
        let mut call = pin!(call);
        let answer = poll_fn(|cx| call_number.poll.during(&self.start, || call.as_mut().poll(cx))).await;
        self.calls().last_answer = Some((verb, self.start.elapsed()));
        answer
    }

    /// Prevents further calls from beginning.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn summary(&self) -> Summary {
        let now = self.start.elapsed();
        let calls = self.calls();
        let oldest = calls.in_flight.values().min_by_key(|(_, begun, _)| *begun);
        Summary {
            calls: calls.begun,
            oldest: oldest.map(|(verb, begun, _)| (*verb, now.saturating_sub(*begun))),
        }
    }

    /// Explains why the clause did not finish within `limit`.
    pub(crate) fn diagnosis(&self, limit: Duration) -> String {
        let now = self.start.elapsed();
        let calls = self.calls();
        let polls = calls
            .in_flight
            .values()
            .filter_map(|(verb, _, poll)| Some((*verb, poll.lasts(now)?)));
        if let Some((verb, blocks)) = polls
            .max_by_key(|(_, blocks)| *blocks)
            .filter(|(_, blocks)| *blocks >= BLOCKED)
        {
            return format!(
                "was not done in {limit:?}: blocked. A call of `{verb}` has kept its thread for {} and neither answers \
                 nor yields",
                seconds(blocks)
            );
        }
        let made = calls.begun;
        let oldest = calls.in_flight.values().min_by_key(|(_, begun, _)| *begun);
        let oldest = oldest.map(|(verb, begun, _)| (*verb, now.saturating_sub(*begun)));
        // A recent answer means that the clause is busy, even if other calls still wait.
        let last = calls.last_answer.map(|(verb, at)| (verb, now.saturating_sub(at)));
        let silent = last.map_or(now, |(_, silent)| silent);
        match oldest {
            Some((verb, waits)) if silent >= BLOCKED => format!(
                "was not done in {limit:?}: stuck. A call of `{verb}` has had no answer for {}; {made} calls were made",
                seconds(waits)
            ),
            None if self.clause.lasts(now).is_some_and(|blocks| blocks >= BLOCKED) && silent >= BLOCKED => {
                format!("was not done in {limit:?}: blocked, outside of the {made} calls that it made of the backend")
            }
            None if silent >= BLOCKED => format!(
                "was not done in {limit:?}: stuck, waiting for something other than the {made} calls that it made to the \
                 backend"
            ),
            _ => format!(
                "was not done in {limit:?}: slow. {made} calls were made{}, and answers still come in; if the store is as \
                 fast as it can be, raise `Harness::time_limit`",
                last.map(|(verb, _)| format!(", the last of them `{verb}`"))
                    .unwrap_or_default()
            ),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Poll {
    fn during<T>(&self, start: &Instant, poll: impl FnOnce() -> T) -> T {
        let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.0.store(now + 1, Ordering::Relaxed);
        let polled = poll();
        self.0.store(0, Ordering::Relaxed);
        polled
    }

    /// Returns how long the current poll has lasted.
    fn lasts(&self, now: Duration) -> Option<Duration> {
        let begun = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_sub(Duration::from_millis(begun)))
    }
}

/// A call in flight. Dropping it ends the call.
struct InFlight<'a> {
    activity: &'a Activity,
    number: u64,
    poll: Arc<Poll>,
}

impl<'a> InFlight<'a> {
    fn begin(activity: &'a Activity, verb: Verb) -> Self {
        let begun = activity.start.elapsed();
        let poll = Arc::new(Poll::default());
        let mut calls = activity.calls();
        calls.begun += 1;
        let number = calls.begun;
        calls.in_flight.insert(number, (verb, begun, poll.clone()));
        drop(calls);
        Self { activity, number, poll }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.activity.calls().in_flight.remove(&self.number);
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
