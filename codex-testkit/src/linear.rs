//! A check that the calls of a history on one key are linearizable.
//!
//! The algorithm is that of Wing and Gong, "Testing and verifying concurrent objects" (1993), with
//! the memoisation of Lowe, "Testing for linearizability" (2017). It searches for an order that
//! respects real time and in which a sequential register gives every answer.

mod timeline;

use std::collections::HashSet;

pub(crate) use timeline::timeline;

/// An operation on the key. Values are integers, so that `incr` can be included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Get,
    /// Writes a value that never expires, or that expires at an unknown time.
    Set {
        value: i64,
        ends: bool,
    },
    SetIfAbsent {
        value: i64,
    },
    SetIfEquals {
        old: i64,
        value: i64,
    },
    Del,
    DelIfEquals {
        old: i64,
    },
    Incr,
}

/// The answer to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Value(Option<i64>),
    Done(bool),
}

/// A call, between two ticks of a common clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) op: Op,
    /// `None` if the call was dropped or failed: it was executed at any time after it began, or
    /// never.
    pub(crate) answer: Option<Answer>,
    pub(crate) begun: u64,
    /// `u64::MAX` if there was no answer.
    pub(crate) ended: u64,
}

/// The register: a value, and whether it may expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Register {
    value: Option<i64>,
    ends: bool,
}

impl Register {
    const EMPTY: Self = Self {
        value: None,
        ends: false,
    };

    fn of(value: i64) -> Self {
        Self {
            value: Some(value),
            ends: false,
        }
    }

    /// Returns the register after `op`, and the answer to `op`.
    fn after(self, op: Op) -> (Self, Answer) {
        let written = |holds: bool, value| (if holds { Self::of(value) } else { self }, Answer::Done(holds));
        match op {
            Op::Get => (self, Answer::Value(self.value)),
            Op::Set { value, ends } => {
                let value = Some(value);
                (Self { value, ends }, Answer::Done(true))
            }
            Op::SetIfAbsent { value } => written(self.value.is_none(), value),
            Op::SetIfEquals { old, value } => written(self.value == Some(old), value),
            Op::Del => (Self::EMPTY, Answer::Done(self.value.is_some())),
            Op::DelIfEquals { old } => {
                let equal = self.value == Some(old);
                (if equal { Self::EMPTY } else { self }, Answer::Done(equal))
            }
            Op::Incr => {
                let value = Some(self.value.unwrap_or(0) + 1);
                (Self { value, ..self }, Answer::Value(value))
            }
        }
    }
}

/// Returns whether some order explains `calls`, at most 64, on a key that was initially missing.
pub(crate) fn is_linearizable(calls: &[Call]) -> bool {
    assert!(calls.len() <= 64, "a set of calls is kept in 64 bits");
    let bits = calls.iter().enumerate().filter(|(_, call)| call.answer.is_some());
    let answered = bits.fold(0_u64, |all, (at, _)| all | 1 << at);
    let mut seen = HashSet::new();
    let mut open = vec![(0_u64, Register::EMPTY)];
    while let Some((done, register)) = open.pop() {
        if done & answered == answered {
            return true;
        }
        if !seen.insert((done, register)) {
            continue;
        }
        if register.ends && register.value.is_some() {
            open.push((done, Register::EMPTY));
        }
        let left = || (0..calls.len()).filter(|at| done & (1 << at) == 0);
        // A call that ended before another began must precede it.
        let first_end = left().map(|at| calls[at].ended).min().unwrap_or(u64::MAX);
        for at in left().filter(|&at| calls[at].begun <= first_end) {
            let (next, answer) = register.after(calls[at].op);
            if calls[at].answer.is_none_or(|told| told == answer) {
                open.push((done | 1 << at, next));
            }
        }
    }
    false
}

#[cfg(test)]
mod cross_check;

#[cfg(test)]
mod tests {
    use super::*;

    fn call(op: Op, answer: Answer, begun: u64, ended: u64) -> Call {
        let answer = Some(answer);
        Call {
            op,
            answer,
            begun,
            ended,
        }
    }

    /// Returns a call without an answer.
    fn lost(op: Op, begun: u64) -> Call {
        Call {
            op,
            answer: None,
            begun,
            ended: u64::MAX,
        }
    }

    const DONE: Answer = Answer::Done(true);

    fn set(value: i64) -> Op {
        Op::Set { value, ends: false }
    }

    #[test]
    fn calls_that_overlap_may_come_in_either_order() {
        for value in [1, 2] {
            let read = call(Op::Get, Answer::Value(Some(value)), 10, 11);
            assert!(is_linearizable(&[
                call(set(1), DONE, 0, 5),
                call(set(2), DONE, 3, 6),
                read
            ]));
        }
    }

    #[test]
    fn a_read_of_what_was_overwritten_is_none() {
        let stale = call(Op::Get, Answer::Value(Some(1)), 10, 11);
        assert!(!is_linearizable(&[
            call(set(1), DONE, 0, 1),
            call(set(2), DONE, 2, 3),
            stale
        ]));
    }

    #[test]
    fn a_lost_update_is_none() {
        let one = Answer::Value(Some(1));
        assert!(!is_linearizable(&[
            call(Op::Incr, one, 0, 5),
            call(Op::Incr, one, 0, 5)
        ]));
    }

    #[test]
    fn two_winners_are_none() {
        let claim = |value| call(Op::SetIfAbsent { value }, DONE, 0, 5);
        assert!(is_linearizable(&[claim(1)]));
        assert!(!is_linearizable(&[claim(1), claim(2)]));
        let between = call(Op::Del, DONE, 0, 5);
        assert!(is_linearizable(&[claim(1), claim(2), between]));
    }

    #[test]
    fn what_ends_by_itself_does_not_come_back() {
        let timed = call(Op::Set { value: 1, ends: true }, DONE, 0, 1);
        let gone = |at| call(Op::Get, Answer::Value(None), at, at + 1);
        let there = |at| call(Op::Get, Answer::Value(Some(1)), at, at + 1);
        assert!(is_linearizable(&[timed, there(2), gone(4)]));
        assert!(!is_linearizable(&[timed, gone(2), there(4)]));
        assert!(!is_linearizable(&[call(set(1), DONE, 0, 1), gone(2)]));
    }

    #[test]
    fn a_call_without_an_answer_may_have_been_done_or_not() {
        let one = call(set(1), DONE, 0, 1);
        let read = |value, at| call(Op::Get, Answer::Value(Some(value)), at, at + 1);
        assert!(is_linearizable(&[one, lost(set(2), 2), read(1, 4)]));
        assert!(is_linearizable(&[one, lost(set(2), 2), read(2, 4)]));
        assert!(is_linearizable(&[one, lost(set(2), 2), read(1, 4), read(2, 6)]));
        // It takes effect at most once, and not before it began.
        assert!(!is_linearizable(&[one, lost(set(2), 2), read(2, 4), read(1, 6)]));
        assert!(!is_linearizable(&[one, read(2, 2), lost(set(2), 4)]));
        let twice = call(Op::Incr, Answer::Value(Some(4)), 4, 5);
        assert!(!is_linearizable(&[one, lost(Op::Incr, 2), twice]));
    }

    #[test]
    fn a_refusal_that_nothing_explains_is_none() {
        let refused = Answer::Done(false);
        let claim = |at| call(Op::SetIfAbsent { value: 1 }, refused, at, at + 1);
        assert!(!is_linearizable(&[claim(0)]));
        assert!(!is_linearizable(&[
            call(set(1), DONE, 0, 1),
            call(Op::Del, DONE, 2, 3),
            claim(4)
        ]));
        assert!(!is_linearizable(&[
            call(set(1), DONE, 0, 1),
            call(Op::SetIfEquals { old: 1, value: 2 }, refused, 2, 3)
        ]));
        let removed = call(Op::DelIfEquals { old: 2 }, DONE, 2, 3);
        assert!(!is_linearizable(&[call(set(1), DONE, 0, 1), removed]));
    }

    #[test]
    fn a_removal_that_comes_back_is_none() {
        let there = call(Op::Get, Answer::Value(Some(1)), 4, 5);
        assert!(!is_linearizable(&[
            call(set(1), DONE, 0, 1),
            call(Op::Del, DONE, 2, 3),
            there
        ]));
    }
}
