//! Random calls on two handles of a store, compared with the model.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, Expiry, OnMissing, Pattern, SetOptions};

use crate::{
    Harness, Model, Op,
    cases::values::letters,
    context::Context,
    failure::{Checked, ensure, show},
    random::Random,
    replay::agree,
};

/// Keys that careless stores confuse with each other.
const KEYS: [&str; 8] = ["k", "K", "k ", " k", "k\0", "{k}", "k*", "kk"];

/// Makes `calls` calls, drawn from `seed`, on two handles and on the model, and compares every
/// answer.
pub(super) async fn agrees_with_the_model<H: Harness>(cx: &Context<'_, H>, seed: u64, calls: usize) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    let mut model = Model::new();
    let mut random = Random::new(seed);
    let is_virtual = cx.virtual_time().is_some();
    let (start, mut passed) = (cx.now(), Duration::ZERO);
    for number in 0..calls {
        let op = draw(&mut random, is_virtual);
        if let Op::Pass(duration) = op {
            cx.pass(duration).await;
            passed += duration;
        }
        let expected = op.apply(&mut model);
        let (handle, name) = if random.below(2) == 0 {
            (&store, "the first handle")
        } else {
            (&other, "a second handle")
        };
        let got = op.call(&**handle).await;
        let slack = cx.now().saturating_sub(start).saturating_sub(passed) + cx.tolerance();
        ensure!(
            agree(&expected, &got, slack),
            "call {number} of {calls}, through {name}: {}: expected {}, got {}",
            show(&op),
            show(&expected),
            show(&got)
        );
    }
    Ok(())
}

fn draw(random: &mut Random, is_virtual: bool) -> Op {
    let key = KEYS[usize::try_from(random.below(8)).unwrap_or(0)];
    match random.below(if is_virtual { 16 } else { 14 }) {
        0 => Op::get_with_ttl(key),
        1..=4 => {
            let options = SetOptions::new()
                .with_condition(condition(random))
                .with_expiry(expiry(random, is_virtual));
            Op::set(key, value(random), options)
        }
        5 => Op::del(&[key, "missing", key]),
        6 => Op::del_if_equals(key, value(random)),
        7 => Op::expire(key, expiry(random, is_virtual)),
        8 => Op::ttl(key),
        9 => Op::get_many(&[key, "k", "missing", "K", key]),
        10 => {
            let (one, two) = (value(random), value(random));
            Op::set_many(&[(key, &one), ("k", &one), (key, &two)], expiry(random, is_virtual))
        }
        11 => {
            let delta = i64::try_from(random.below(20)).unwrap_or(0) - 10;
            let on_missing = match random.below(2) {
                0 => OnMissing::Refuse,
                _ => OnMissing::Create(expiry(random, is_virtual)),
            };
            Op::incr(key, delta, on_missing)
        }
        12 => Op::scan(Pattern::prefix(key), 10),
        13 if random.below(4) == 0 => Op::del_matching(Pattern::prefix(key)),
        13 => Op::get(key),
        _ => Op::Pass(Duration::from_millis(random.below(1500))),
    }
}

fn condition(random: &mut Random) -> Condition {
    match random.below(6) {
        0 | 1 => Condition::Always,
        2 => Condition::IfAbsent,
        3 => Condition::IfPresent,
        _ => Condition::IfEquals(value(random)),
    }
}

/// Draws one of a few values, so that comparisons often hold. Some values are nearly equal.
fn value(random: &mut Random) -> Bytes {
    let long = |last: &str| Bytes::from([&letters(80, 0)[..], last.as_bytes()].concat());
    match random.below(7) {
        0 => Bytes::new(),
        1 => Bytes::from_static(b"5"),
        2 => Bytes::from_static(b"05"),
        3 => long("a"),
        4 => long("b"),
        5 => long("A"),
        _ => Bytes::from_static(b"7"),
    }
}

/// Draws an expiry. In real time every expiry is far in the future, because the clock runs during
/// the calls.
fn expiry(random: &mut Random, is_virtual: bool) -> Expiry {
    match random.below(5) {
        0 | 1 => Expiry::Never,
        2 => Expiry::Keep,
        3 if is_virtual => Expiry::After(Duration::from_millis(1 + random.below(2000))),
        _ => Expiry::After(Duration::from_millis(100_000 + random.below(900_000))),
    }
}
