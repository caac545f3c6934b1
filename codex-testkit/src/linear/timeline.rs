//! The report of a history that no order explains, as short as possible.

use std::fmt::Write as _;

use super::{Answer, Call, Op, is_linearizable};

/// Returns the calls that prove that `calls` are not linearizable. Each call has a line with the
/// ticks between which it ran. A question at the end points to the usual cause.
pub(crate) fn timeline(calls: &[Call]) -> String {
    let calls = shortest(calls);
    let mut text = String::from(
        "no order of these calls on one key explains their answers (began and was answered at a tick of one clock):\n",
    );
    for call in &calls {
        let ended = if call.ended == u64::MAX {
            String::new()
        } else {
            call.ended.to_string()
        };
        let answer = call.answer.map_or_else(|| "no answer".to_owned(), described);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  {:>4} - {ended:<4}  {:<32} -> {answer}",
            call.begun,
            named(call.op)
        );
    }
    text.push_str(if calls.iter().any(|call| matches!(call.op, Op::Set { ends: true, .. })) {
        "A key expires here after 1 ms. Is the clock read inside the lock? A time that was read before the lock can be older \
         than a time that another call has already used, so that an expired key reappears."
    } else {
        "Is each of them one step? The comparison and the write must share one lock, one command or one script."
    });
    text
}

/// Truncates the history after the first error, and removes calls that the error does not need.
fn shortest(calls: &[Call]) -> Vec<Call> {
    let mut ends: Vec<u64> = calls
        .iter()
        .map(|call| call.ended)
        .filter(|ended| *ended != u64::MAX)
        .collect();
    ends.sort_unstable();
    // A call that had no answer yet at that moment may or may not have been executed.
    let until = |last: u64| -> Vec<Call> {
        let begun = calls.iter().filter(|call| call.begun <= last);
        begun
            .map(|call| {
                if call.ended <= last {
                    *call
                } else {
                    Call {
                        answer: None,
                        ended: u64::MAX,
                        ..*call
                    }
                }
            })
            .collect()
    };
    let mut shortest = ends
        .into_iter()
        .map(until)
        .find(|calls| !is_linearizable(calls))
        .unwrap_or_else(|| calls.to_vec());
    // A call that changes nothing can be removed if the rest still shows the error.
    let mut at = 0;
    while at < shortest.len() {
        let changes_nothing = matches!(shortest[at].op, Op::Get) || shortest[at].answer == Some(Answer::Done(false));
        let unanswered_read = matches!(shortest[at].op, Op::Get) && shortest[at].answer.is_none();
        let mut fewer = shortest.clone();
        fewer.remove(at);
        if unanswered_read || changes_nothing && !is_linearizable(&fewer) {
            shortest = fewer;
        } else {
            at += 1;
        }
    }
    shortest
}

fn named(op: Op) -> String {
    match op {
        Op::Get => "get".to_owned(),
        Op::Set { value, ends: false } => format!("set {value}"),
        Op::Set { value, ends: true } => format!("set {value}, to end after 1 ms"),
        Op::SetIfAbsent { value } => format!("set {value} if absent"),
        Op::SetIfEquals { old, value } => format!("set {value} if equal to {old}"),
        Op::Del => "del".to_owned(),
        Op::DelIfEquals { old } => format!("del if equal to {old}"),
        Op::Incr => "incr by 1".to_owned(),
    }
}

fn described(answer: Answer) -> String {
    match answer {
        Answer::Value(None) => "none".to_owned(),
        Answer::Value(Some(value)) => value.to_string(),
        Answer::Done(done) => if done { "yes" } else { "no" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(op: Op, answer: Answer, begun: u64) -> Call {
        Call {
            op,
            answer: Some(answer),
            begun,
            ended: begun + 1,
        }
    }

    #[test]
    fn a_history_is_cut_to_what_is_wrong_with_it() {
        let set = Op::Set { value: 1, ends: true };
        let calls = [
            call(Op::Get, Answer::Value(None), 0),
            call(set, Answer::Done(true), 2),
            call(Op::Get, Answer::Value(Some(1)), 4),
            call(Op::Get, Answer::Value(None), 6),
            // The value has expired and then reappears.
            call(Op::Get, Answer::Value(Some(1)), 8),
            call(Op::Del, Answer::Done(true), 10),
        ];
        assert!(!is_linearizable(&calls));
        let text = timeline(&calls);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[1], "     2 - 3     set 1, to end after 1 ms         -> yes");
        assert_eq!(lines[2], "     6 - 7     get                              -> none");
        assert_eq!(lines[3], "     8 - 9     get                              -> 1");
        assert!(lines[4].contains("Is the clock read inside the lock?"), "{text}");
    }

    #[test]
    fn a_history_without_an_end_asks_for_one_step() {
        let won = |begun| call(Op::SetIfAbsent { value: 1 }, Answer::Done(true), begun);
        let text = timeline(&[won(0), call(Op::DelIfEquals { old: 7 }, Answer::Done(false), 2), won(4)]);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("Is each of them one step?"), "{text}");
    }
}
