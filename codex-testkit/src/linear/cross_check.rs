//! The checker compared with `stateright`'s linearizability tester on the same histories.

use std::collections::BTreeSet;

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::{Answer, Call, Op, Register, is_linearizable};
use crate::random::Random;

/// All possible states of the register. `stateright` requires a deterministic object, so a value
/// that may expire makes the object a set of states.
#[derive(Debug, Clone)]
struct Possible(BTreeSet<(Option<i64>, bool)>);

impl Possible {
    fn each(&self) -> impl Iterator<Item = Register> {
        self.0.iter().map(|&(value, ends)| Register { value, ends })
    }

    fn of(registers: impl IntoIterator<Item = Register>) -> Self {
        let mut all = BTreeSet::new();
        for register in registers {
            all.insert((register.value, register.ends));
            if register.ends {
                all.insert((None, false));
            }
        }
        Self(all)
    }
}

impl SequentialSpec for Possible {
    type Op = Op;
    /// A backend never answers `None`.
    type Ret = Option<Answer>;

    /// Applies `op` for a call without an answer, keeping every possible effect of the call.
    fn invoke(&mut self, op: &Op) -> Option<Answer> {
        *self = Self::of(self.each().map(|register| register.after(*op).0).collect::<Vec<_>>());
        None
    }

    fn is_valid_step(&mut self, op: &Op, answer: &Option<Answer>) -> bool {
        let after = self.each().map(|register| register.after(*op));
        let told = after.filter(|(_, told)| Some(*told) == *answer);
        *self = Self::of(told.map(|(register, _)| register).collect::<Vec<_>>());
        !self.0.is_empty()
    }
}

/// A history, with the task of each call.
type History = Vec<(usize, Call)>;

fn stateright_says(history: &History) -> bool {
    let mut events: Vec<(u64, usize, Op, Option<Option<Answer>>)> = Vec::new();
    for &(task, call) in history {
        events.push((call.begun, task, call.op, None));
        if call.answer.is_some() {
            events.push((call.ended, task, call.op, Some(call.answer)));
        }
    }
    events.sort_by_key(|event| event.0);
    let mut tester = LinearizabilityTester::new(Possible::of([Register::EMPTY]));
    for (_, task, op, answer) in events {
        let event = match answer {
            None => tester.on_invoke(task, op),
            Some(answer) => tester.on_return(task, answer),
        };
        event.unwrap();
    }
    tester.is_consistent()
}

fn draw_op(random: &mut Random) -> Op {
    let mut value = || i64::try_from(random.below(2)).unwrap();
    let (old, value) = (value(), value());
    match random.below(8) {
        0 | 1 => Op::Get,
        2 => Op::Set { value, ends: false },
        3 => Op::Set { value, ends: true },
        4 => Op::SetIfAbsent { value },
        5 => Op::SetIfEquals { old, value },
        6 => Op::Del,
        _ => Op::Incr,
    }
}

/// Generates a history of three tasks whose calls on a locked register overlap at random. Some
/// answers are falsified or lost.
fn draw_history(random: &mut Random) -> History {
    const TASKS: usize = 3;
    const CALLS: usize = 7;
    let mut history: History = Vec::new();
    let mut open: [Option<usize>; TASKS] = [None; TASKS];
    let mut has_stopped = [false; TASKS];
    let mut register = Register::EMPTY;
    for tick in 0..40 {
        let task = usize::try_from(random.below(TASKS as u64)).unwrap();
        match open[task] {
            // A task whose answer was lost makes no further calls.
            _ if has_stopped[task] => {}
            None if history.len() < CALLS => {
                let op = draw_op(random);
                open[task] = Some(history.len());
                let call = Call {
                    op,
                    answer: None,
                    begun: tick,
                    ended: u64::MAX,
                };
                history.push((task, call));
            }
            None => {}
            Some(at) => {
                let call = &mut history[at].1;
                if call.answer.is_none() {
                    if register.ends && random.below(3) == 0 {
                        register = Register::EMPTY;
                    }
                    let (next, answer) = register.after(call.op);
                    register = next;
                    call.answer = Some(answer);
                } else if random.below(10) == 0 {
                    (call.answer, has_stopped[task]) = (None, true);
                } else {
                    call.ended = tick;
                    open[task] = None;
                }
            }
        }
    }
    // The task has not received the answer to a call that is still open.
    for at in open.into_iter().flatten() {
        history[at].1.answer = None;
    }
    if random.below(2) == 0 {
        let at = usize::try_from(random.below(history.len() as u64)).unwrap();
        let answer = &mut history[at].1.answer;
        *answer = answer.map(|answer| match answer {
            Answer::Value(Some(value)) => Answer::Value(Some(value ^ 1)),
            Answer::Value(None) => Answer::Value(Some(1)),
            Answer::Done(done) => Answer::Done(!done),
        });
    }
    history
}

#[test]
fn stateright_says_the_same() {
    let mut random = Random::new(11);
    let (mut yes, mut no, mut unanswered) = (0, 0, 0);
    for _ in 0..4_000 {
        let history = draw_history(&mut random);
        let calls: Vec<Call> = history.iter().map(|(_, call)| *call).collect();
        let ours = is_linearizable(&calls);
        assert_eq!(ours, stateright_says(&history), "{history:#?}");
        yes += usize::from(ours);
        no += usize::from(!ours);
        unanswered += calls.iter().filter(|call| call.answer.is_none()).count();
    }
    assert!(
        yes > 1_000 && no > 500 && unanswered > 500,
        "{yes} yes, {no} no, {unanswered} without an answer"
    );
}
