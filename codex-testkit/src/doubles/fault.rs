//! Faults, and the calls that they affect.

use std::{ops::RangeInclusive, time::Duration};

use codex_traits::{Error, ErrorKind, Pattern};

use super::Verb;

/// The effect of a fault on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// The call is refused before it runs, with an error of this kind.
    Refused(ErrorKind),
    /// The request is lost on its way to the store, which stays unchanged. The caller cannot tell.
    RequestLost(Loss),
    /// The store applies the call, and its answer is lost on the way back. The caller cannot tell.
    AnswerLost(Loss),
    /// The call is delayed for this long before it is sent.
    Delayed(Duration),
}

/// The way in which a caller learns that a request or an answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The connection broke: [`ErrorKind::Connection`].
    Connection,
    /// The deadline passed: [`ErrorKind::Timeout`].
    Timeout,
}

/// A fault that was injected into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Injected {
    /// The verb of the call.
    pub verb: Verb,
    /// The effect on the call.
    pub effect: Effect,
}

/// A fault of a [`FaultyBackend`](super::FaultyBackend): its effect, and the calls that it affects.
/// By default it affects every call.
///
/// ```
/// use codex_testkit::doubles::{Fault, Loss, Verb};
/// use codex_traits::{ErrorKind, Pattern};
///
/// // The third and fourth write of a session fail.
/// let full = Fault::refused(ErrorKind::Server)
///     .on(Verb::Set)
///     .for_keys(Pattern::prefix("session:"))
///     .after(2)
///     .times(2);
/// // One increment in ten is counted, and its answer lost.
/// let doubtful = Fault::answer_lost(Loss::Timeout).on(Verb::Incr).with_probability(0.1);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Fault {
    what: What,
    verbs: Vec<Verb>,
    keys: Option<Pattern>,
    after: u64,
    times: u64,
    probability: f64,
}

#[derive(Debug, Clone)]
enum What {
    Refused(ErrorKind),
    RequestLost(Loss),
    AnswerLost(Loss),
    Delay(RangeInclusive<Duration>),
}

impl Fault {
    /// Fails the call with an error of `kind`, which says that the call never ran, as with a
    /// refused connection, an open circuit breaker or a server that is out of memory.
    pub fn refused(kind: ErrorKind) -> Self {
        Self::new(What::Refused(kind))
    }

    /// Loses the request. Nothing is applied, but the error says that the call may have been
    /// applied.
    pub fn request_lost(loss: Loss) -> Self {
        Self::new(What::RequestLost(loss))
    }

    /// Applies the call and loses its answer. The error says that the call may have been applied,
    /// and it was.
    pub fn answer_lost(loss: Loss) -> Self {
        Self::new(What::AnswerLost(loss))
    }

    /// Delays the call by `duration`.
    pub fn delay(duration: Duration) -> Self {
        Self::new(What::Delay(duration..=duration))
    }

    /// Delays the call by a random time within `range`. Concurrent calls are then executed in any
    /// order.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    pub fn delay_within(range: RangeInclusive<Duration>) -> Self {
        assert!(!range.is_empty(), "the shortest delay must not exceed the longest");
        Self::new(What::Delay(range))
    }

    fn new(what: What) -> Self {
        Self {
            what,
            verbs: Vec::new(),
            keys: None,
            after: 0,
            times: u64::MAX,
            probability: 1.0,
        }
    }

    /// Limits the fault to calls of `verb`. Call this several times to affect several verbs.
    pub fn on(mut self, verb: Verb) -> Self {
        self.verbs.push(verb);
        self
    }

    /// Limits the fault to calls with a key that matches `pattern`. `scan`, `del_matching` and
    /// `health` name no key, so the fault does not affect them.
    pub fn for_keys(mut self, pattern: Pattern) -> Self {
        self.keys = Some(pattern);
        self
    }

    /// Leaves the first `calls` matching calls unaffected.
    pub fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }

    /// Limits the fault to `times` occurrences.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Sets the probability that the fault strikes a matching call. The seed of the backend and the
    /// number of earlier matching calls determine which calls are struck, so the same sequence of
    /// calls meets the same faults.
    ///
    /// # Panics
    ///
    /// If the probability is not between 0 and 1.
    pub fn with_probability(mut self, probability: f64) -> Self {
        assert!((0.0..=1.0).contains(&probability), "a probability is between 0 and 1");
        self.probability = probability;
        self
    }

    fn is_for(&self, verb: Verb, keys: &[&str]) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&verb))
            && self
                .keys
                .as_ref()
                .is_none_or(|pattern| keys.iter().any(|key| pattern.matches(key)))
    }
}

/// A fault in force, with the progress of its schedule.
#[derive(Debug)]
pub(super) struct Scheduled {
    fault: Fault,
    /// Differs between the faults of a backend, so that each fault has its own random numbers.
    stream: u64,
    seen: u64,
    struck: u64,
}

impl Scheduled {
    pub(super) fn new(fault: Fault, stream: u64) -> Self {
        Self {
            fault,
            stream,
            seen: 0,
            struck: 0,
        }
    }

    /// Returns the effect on this call, if any.
    pub(super) fn strike(&mut self, seed: u64, verb: Verb, keys: &[&str]) -> Option<Effect> {
        if !self.fault.is_for(verb, keys) {
            return None;
        }
        let call = self.seen;
        self.seen += 1;
        if call < self.fault.after || self.struck == self.fault.times {
            return None;
        }
        let mut random = Random::new(seed, self.stream, call);
        if random.fraction() >= self.fault.probability {
            return None;
        }
        self.struck += 1;
        Some(match &self.fault.what {
            What::Refused(kind) => Effect::Refused(*kind),
            What::RequestLost(loss) => Effect::RequestLost(*loss),
            What::AnswerLost(loss) => Effect::AnswerLost(*loss),
            What::Delay(range) => {
                let spread = range.end().saturating_sub(*range.start());
                Effect::Delayed(*range.start() + spread.mul_f64(random.fraction()))
            }
        })
    }
}

/// Returns the error of a refused call.
pub(super) fn refusal(kind: ErrorKind, verb: Verb) -> Error {
    Error::new(kind, verb.name(), "refused by a fault of the test").not_executed()
}

/// Returns the error of a lost call, which leaves open whether the call ran.
pub(super) fn lost(loss: Loss, verb: Verb) -> Error {
    match loss {
        Loss::Connection => Error::new(
            ErrorKind::Connection,
            verb.name(),
            "the connection broke, by a fault of the test",
        ),
        Loss::Timeout => Error::new(
            ErrorKind::Timeout,
            verb.name(),
            "no answer within the deadline, by a fault of the test",
        ),
    }
}

/// The random numbers of a call, computed from its position in the schedule, so that other faults
/// do not affect them.
///
/// The function is `SplitMix64`: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014.
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: u64, call: u64) -> Self {
        let mut random = Self(seed);
        for part in [stream, call] {
            random = Self(random.next() ^ part);
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to just below 1.
    fn fraction(&mut self) -> f64 {
        let top = u32::try_from(self.next() >> 32).unwrap_or(u32::MAX);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(seed: u64, stream: u64) -> Vec<bool> {
        let mut scheduled = Scheduled::new(Fault::refused(ErrorKind::Server).with_probability(0.25), stream);
        (0..10_000)
            .map(|_| scheduled.strike(seed, Verb::Get, &["k"]).is_some())
            .collect()
    }

    #[test]
    fn a_seed_repeats_its_schedule_and_another_has_another() {
        assert_eq!(struck(1, 0), struck(1, 0));
        assert_ne!(struck(1, 0), struck(2, 0));
        assert_ne!(struck(1, 0), struck(1, 1));
    }

    #[test]
    fn a_probability_is_kept_to() {
        for seed in 0..5 {
            let times = struck(seed, 0).into_iter().filter(|struck| *struck).count();
            // The range is four standard deviations in each direction.
            assert!((2_327..=2_673).contains(&times), "{times}");
        }
    }

    #[test]
    fn never_and_always_are_exact() {
        let mut never = Scheduled::new(Fault::refused(ErrorKind::Server).with_probability(0.0), 0);
        let mut always = Scheduled::new(Fault::refused(ErrorKind::Server).with_probability(1.0), 0);
        for _ in 0..10_000 {
            assert_eq!(never.strike(3, Verb::Get, &[]), None);
            assert_eq!(
                always.strike(3, Verb::Get, &[]),
                Some(Effect::Refused(ErrorKind::Server))
            );
        }
    }

    #[test]
    #[should_panic(expected = "a probability is between 0 and 1")]
    fn no_number_is_no_probability() {
        let _ = Fault::delay(Duration::ZERO).with_probability(f64::NAN);
    }
}
