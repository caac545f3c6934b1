//! The checker for histories.
//!
//! A history is legal if some total order of its writes explains every answer. The checker collects
//! what is certain about that order. A write is older than another write if it was answered before
//! the other began. Each answer of a near cache must fit the known part of the order, and reveals
//! more of it. A cycle means that no order exists.

use std::{fmt::Write as _, time::Duration};

use super::{
    call::{Call, Client, Moment, Shown, What},
    order::Order,
    violation::{Rule, Violation},
};

/// The bounds on the answers of a near cache.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Bounds {
    /// The maximum age of an answer: the time from the end of the write that overwrote the value to
    /// the start of the read.
    pub max_staleness: Duration,
    /// The maximum age of an answer in a history without disturbances: the time that a push takes.
    pub push_time: Option<Duration>,
    /// The tolerance of every comparison of times. It covers differences between clocks, and
    /// threads that wait for a core.
    pub slack: Duration,
}

impl Bounds {
    /// Returns the bounds of a near cache with this `max_staleness`, without tolerance.
    pub fn new(max_staleness: Duration) -> Self {
        Self {
            max_staleness,
            push_time: None,
            slack: Duration::ZERO,
        }
    }

    /// Returns the bounds of a client without a near cache.
    pub fn fresh() -> Self {
        Self::new(Duration::ZERO)
    }

    /// Limits the age of every answer further, to the time that a push takes. Use it for a history
    /// without disturbances.
    #[must_use]
    pub fn with_push_time(mut self, push_time: Duration) -> Self {
        self.push_time = Some(push_time);
        self
    }

    /// Sets the tolerance of every comparison of times.
    #[must_use]
    pub fn with_slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }
}

/// A state of the key: missing at first, then the result of each write.
#[derive(Debug, Clone, Copy)]
struct State {
    client: Option<Client>,
    begun: Moment,
    /// The end of the call, or `None` if it was never answered.
    answered: Option<Moment>,
    /// The earliest moment at which the state is known to have been reached.
    reached: Option<Moment>,
    version: Option<u64>,
    ttl: Option<Duration>,
}

const START: Moment = Moment {
    tick: 0,
    at: Duration::ZERO,
};

struct Checker<'a> {
    calls: &'a [Call],
    bounds: &'a Bounds,
    states: Vec<State>,
    order: Order,
    /// The answers of near caches with the state that each showed, if that state is certain.
    shown: Vec<(Call, usize)>,
}

/// Checks the calls on a key that was missing at first. Their ticks start at 1.
///
/// # Errors
///
/// The first answer that breaks a rule.
pub fn check(calls: &[Call], bounds: &Bounds) -> Result<(), Violation> {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.begun.tick);
    let states = states_of(&calls);
    let order = Order::new(states.len());
    let mut checker = Checker {
        calls: &calls,
        bounds,
        states,
        order,
        shown: Vec::new(),
    };
    checker.check_values()?;
    checker.order_writes()?;
    checker.check_near_reads()?;
    // The second pass applies to every answer what later answers revealed about the order.
    checker.check_near_reads()
}

fn states_of(calls: &[Call]) -> Vec<State> {
    let mut states = vec![State {
        client: None,
        begun: START,
        answered: Some(START),
        reached: Some(START),
        version: None,
        ttl: None,
    }];
    for call in calls {
        let (version, ttl) = match call.what {
            What::Write { version, ttl } => (Some(version), ttl),
            What::Delete => (None, None),
            What::Read(_) | What::FailOver => continue,
        };
        // A version that was read had been written by the end of the read.
        let reads = calls
            .iter()
            .filter(|read| version.is_some_and(|version| read.what == What::Read(Shown::Version(version))));
        let reached = reads
            .filter_map(|read| read.ended)
            .chain(call.ended)
            .min_by_key(|moment| moment.tick);
        states.push(State {
            client: Some(call.client),
            begun: call.begun,
            answered: call.ended,
            reached,
            version,
            ttl,
        });
    }
    states
}

impl Checker<'_> {
    fn state_of(&self, version: u64) -> Option<usize> {
        self.states.iter().position(|state| state.version == Some(version))
    }

    fn check_values(&self) -> Result<(), Violation> {
        for call in self.calls {
            let What::Read(shown) = call.what else {
                continue;
            };
            let known = match shown {
                Shown::Missing => true,
                Shown::Foreign => false,
                Shown::Version(version) => {
                    let state = self.state_of(version).map(|at| self.states[at]);
                    state.is_some_and(|state| call.ended.is_none_or(|ended| state.begun.tick < ended.tick))
                }
            };
            if !known {
                return Err(self.violation(Rule::NeverWritten, call, "no write had carried this value"));
            }
        }
        Ok(())
    }

    /// Returns whether a fail-over before the end of the read may have lost the state.
    fn may_be_lost(&self, state: State, read: &Call) -> bool {
        self.calls.iter().any(|call| {
            call.what == What::FailOver
                && call.ended.is_none_or(|ended| state.begun.tick < ended.tick)
                && read.ended.is_none_or(|ended| call.begun.tick < ended.tick)
        })
    }

    /// Records the order that follows from the writes and from the clients without a near cache.
    fn order_writes(&mut self) -> Result<(), Violation> {
        for a in 0..self.states.len() {
            for b in 0..self.states.len() {
                let reached = self.states[a].reached;
                let is_older = a != b && (a == 0 || reached.is_some_and(|end| end.tick < self.states[b].begun.tick));
                if is_older && !self.order.note(a, b) {
                    let text = "a client without a near cache read a version before it was written";
                    return Err(self.violation_of(Rule::Store, text));
                }
            }
        }
        for read in self.calls {
            let (Client::Bare(_), What::Read(shown)) = (read.client, read.what) else {
                continue;
            };
            match shown {
                Shown::Version(version) => {
                    let Some(state) = self.state_of(version) else { continue };
                    for at in 0..self.states.len() {
                        let answered = self.states[at].answered.is_some_and(|end| end.tick < read.begun.tick);
                        if answered && !self.may_be_lost(self.states[at], read) && !self.order.note(at, state) {
                            return Err(self.violation(Rule::Store, read, "a newer write had been answered"));
                        }
                    }
                }
                Shown::Missing | Shown::Foreign => {}
            }
        }
        Ok(())
    }

    fn check_near_reads(&mut self) -> Result<(), Violation> {
        for index in 0..self.calls.len() {
            let read = self.calls[index];
            let (Client::Near(_), What::Read(shown)) = (read.client, read.what) else {
                continue;
            };
            match shown {
                Shown::Version(version) => {
                    let Some(state) = self.state_of(version) else { continue };
                    if let Some((rule, text)) = self.reason_against(state, &read, false) {
                        return Err(self.violation(rule, &read, &text));
                    }
                    self.learn(state, &read)?;
                }
                Shown::Missing => self.check_missing(&read)?,
                Shown::Foreign => {}
            }
        }
        Ok(())
    }

    /// Checks a read that found the key missing. A key is missing at first, after a removal, and
    /// after its time to live. At least one of these explanations must be allowed.
    fn check_missing(&mut self, read: &Call) -> Result<(), Violation> {
        let mut refused: Option<(Moment, Rule, String)> = None;
        let mut allowed = Vec::new();
        for (at, state) in self.states.iter().enumerate() {
            let has_expired = state.version.is_some();
            let is_possible = read.ended.is_none_or(|ended| {
                state.begun.tick < ended.tick
                    && state.ttl.is_none_or(|ttl| {
                        state.begun.at.saturating_add(ttl) <= ended.at.saturating_add(self.bounds.slack)
                    })
            });
            if !is_possible || (has_expired && state.ttl.is_none()) {
                continue;
            }
            match self.reason_against(at, read, has_expired) {
                None => allowed.push(at),
                Some((rule, text)) => {
                    if refused
                        .as_ref()
                        .is_none_or(|(begun, ..)| begun.tick <= state.begun.tick)
                    {
                        refused = Some((state.begun, rule, text));
                    }
                }
            }
        }
        match (allowed.as_slice(), refused) {
            ([only], _) => self.learn(*only, read),
            ([], Some((_, rule, text))) => Err(self.violation(rule, read, &text)),
            _ => Ok(()),
        }
    }

    /// Returns the states that the near cache must not fall behind: its own answered writes, with
    /// `true`, and the states that it has shown, with `false`.
    fn seen_before(&self, read: &Call) -> Vec<(usize, bool)> {
        let mut seen = Vec::new();
        for (at, state) in self.states.iter().enumerate() {
            let is_own =
                state.client == Some(read.client) && state.answered.is_some_and(|end| end.tick < read.begun.tick);
            if is_own && !self.may_be_lost(*state, read) {
                seen.push((at, true));
            }
        }
        for (earlier, at) in &self.shown {
            let is_before = earlier.ended.is_some_and(|ended| ended.tick < read.begun.tick);
            if earlier.client == read.client && is_before && !self.may_be_lost(self.states[*at], read) {
                seen.push((*at, false));
            }
        }
        seen
    }

    /// Returns the rule that forbids `read` from showing `state`, or its expiry if `has_expired`.
    fn reason_against(&self, state: usize, read: &Call, has_expired: bool) -> Option<(Rule, String)> {
        for (seen, is_own) in self.seen_before(read) {
            if self.order.is_older(state, seen) {
                let name = self.name(seen);
                return Some(if is_own {
                    (
                        Rule::ReadYourWrites,
                        format!("its own write of {name} had been answered"),
                    )
                } else {
                    (Rule::MonotonicReads, format!("it had shown {name} before"))
                });
            }
        }
        let slack = self.bounds.slack;
        let limits = [
            (Rule::BoundedStaleness, Some(self.bounds.max_staleness)),
            (Rule::PushTime, self.bounds.push_time),
        ];
        for (rule, limit) in limits {
            let Some(limit) = limit else { continue };
            for (newer, overwriting) in self.states.iter().enumerate() {
                let age = overwriting.reached.and_then(|end| read.begun.at.checked_sub(end.at));
                if self.order.is_older(state, newer)
                    && age.is_some_and(|age| age > limit.saturating_add(slack))
                    && !self.may_be_lost(*overwriting, read)
                {
                    let (name, age) = (self.name(newer), age.unwrap_or_default());
                    return Some((rule, format!("{name} had been written {age:?} before the read began")));
                }
            }
        }
        let State { ttl, reached, .. } = self.states[state];
        if !has_expired
            && let (Some(ttl), Some(end)) = (ttl, reached)
            && read.begun.at > end.at.saturating_add(ttl).saturating_add(slack)
        {
            let late = read.begun.at.saturating_sub(end.at.saturating_add(ttl));
            return Some((Rule::TimeToLive, format!("its time to live had been over for {late:?}")));
        }
        None
    }

    /// Records that the shown state is at least as new as every state that the near cache has seen.
    fn learn(&mut self, state: usize, read: &Call) -> Result<(), Violation> {
        for (seen, is_own) in self.seen_before(read) {
            if !self.order.note(seen, state) {
                let rule = if is_own {
                    Rule::ReadYourWrites
                } else {
                    Rule::MonotonicReads
                };
                return Err(self.violation(rule, read, "no order of the writes explains it"));
            }
        }
        self.shown.push((*read, state));
        Ok(())
    }

    fn name(&self, state: usize) -> String {
        match self.states[state] {
            State {
                version: Some(version), ..
            } => format!("version {version}"),
            State { client: None, .. } => "the beginning".to_owned(),
            State { .. } => "a removal".to_owned(),
        }
    }

    fn violation(&self, rule: Rule, read: &Call, text: &str) -> Violation {
        let What::Read(shown) = read.what else {
            return self.violation_of(rule, text);
        };
        let at = read.begun.at;
        self.violation_of(
            rule,
            &format!("{:?} was told {shown:?} at {at:?}, but {text}", read.client),
        )
    }

    fn violation_of(&self, rule: Rule, text: &str) -> Violation {
        let mut text = format!("{text}\n");
        for call in self.calls {
            let end = call
                .ended
                .map_or_else(|| "no answer".to_owned(), |end| format!("{:?}", end.at));
            // Writing to a String never fails.
            let _ = writeln!(
                text,
                "  {:>12?} to {end:>12}  {:?} {:?}",
                call.begun.at, call.client, call.what
            );
        }
        Violation { rule, text }
    }
}

#[cfg(test)]
mod tests;
