//! The product of condition, expiry and previous state, for the verbs that write.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use codex_traits::{Capability, Condition, Expiry, KvBackend, OnMissing, SetOptions, SetOutcome};
use futures_util::future::try_join_all;

use crate::{
    Harness,
    cases::{
        states::{Prepared, State, TTL, prepare},
        values::{LARGE, bytes, letters},
    },
    context::{Context, Stamp, Store},
    failure::{Checked, ensure_eq, ensure_same, show},
};

/// A kind of condition, and whether its comparison holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    IfAbsent,
    IfPresent,
    IfEqual,
    IfUnequal,
}

impl When {
    fn name(self) -> &'static str {
        match self {
            Self::Always => "set",
            Self::IfAbsent => "set(IfAbsent)",
            Self::IfPresent => "set(IfPresent)",
            Self::IfEqual => "set(IfEquals its value)",
            Self::IfUnequal => "set(IfEquals another value)",
        }
    }

    fn condition(self, held: &Bytes) -> Condition {
        match self {
            Self::Always => Condition::Always,
            Self::IfAbsent => Condition::IfAbsent,
            Self::IfPresent => Condition::IfPresent,
            Self::IfEqual => Condition::IfEquals(held.clone()),
            // The same length, with a difference in the last byte only.
            Self::IfUnequal => {
                let mut other = held.to_vec();
                match other.last_mut() {
                    Some(last) => *last ^= 1,
                    None => other.push(0),
                }
                Condition::IfEquals(other.into())
            }
        }
    }

    fn holds(self, state: State) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent => !state.is_present(),
            Self::IfPresent | Self::IfEqual => state.is_present(),
            Self::IfUnequal => false,
        }
    }
}

/// Every expiry. The first time to live is shorter than the key's previous time to live, the second
/// is longer.
pub(super) const EXPIRIES: [Expiry; 4] = [
    Expiry::Never,
    Expiry::After(Duration::from_millis(50_321)),
    Expiry::After(Duration::from_millis(1_000_777)),
    Expiry::Keep,
];

fn name(expiry: Expiry) -> String {
    match expiry {
        Expiry::Never => "Never".to_owned(),
        Expiry::After(duration) => format!("After({duration:?})"),
        Expiry::Keep => "Keep".to_owned(),
    }
}

/// Runs `check` on each case. In real time all cases run concurrently, so that they wait together.
/// On a virtual clock they run in sequence.
pub(super) async fn for_each<H, T, F>(cx: &Context<'_, H>, cases: &[T], check: impl Fn(T) -> F + Send) -> Checked
where
    H: Harness,
    T: Copy + Send + Sync,
    F: Future<Output = Checked> + Send,
{
    if cx.virtual_time().is_none() {
        return try_join_all(cases.iter().map(|case| Box::pin(check(*case))))
            .await
            .map(drop);
    }
    for case in cases {
        Box::pin(check(*case)).await?;
    }
    Ok(())
}

/// Checks sets with these conditions, each expiry and each state, on values of `length`. The
/// outcome, the value and the time to live must be right immediately, later, and after the
/// deadlines. Two handles take turns.
pub(super) async fn sets<H: Harness>(
    cx: &Context<'_, H>,
    store: &Store<H::Backend>,
    conditions: &[When],
    length: usize,
) -> Checked {
    let new = letters(length / 2 + 3, 1);
    sets_over(cx, store, conditions, letters(length, 0), new).await
}

/// Checks sets as [`sets`] does, with the value that the key already holds. Such a set changes only
/// the time to live, and a store must not take it for no change.
pub(super) async fn sets_of_the_same_value<H: Harness>(
    cx: &Context<'_, H>,
    store: &Store<H::Backend>,
    conditions: &[When],
) -> Checked {
    // No other call uses this length, so the keys are new.
    let held = letters(9, 0);
    sets_over(cx, store, conditions, held.clone(), held).await
}

/// Checks sets of `new` on keys that hold `held`.
async fn sets_over<H: Harness>(
    cx: &Context<'_, H>,
    store: &Store<H::Backend>,
    conditions: &[When],
    held: Bytes,
    new: Bytes,
) -> Checked {
    let other = cx.second(store);
    let length = held.len();
    let mut cases = Vec::new();
    for &when in conditions {
        for expiry in EXPIRIES {
            for state in State::ALL {
                let case = format!("{} of {length} bytes with {}", when.name(), name(expiry));
                cases.push((when, expiry, Prepared::new(&case, state, held.clone())));
            }
        }
    }
    let mut keys: Vec<Prepared> = cases.iter().map(|(.., prepared)| prepared.clone()).collect();
    prepare(cx, store, &mut keys).await?;
    let mut written = Vec::new();
    for (number, ((when, expiry, _), prepared)) in cases.iter().zip(&keys).enumerate() {
        let writer = if number % 2 == 0 { store } else { &other };
        let options = SetOptions::new()
            .with_condition(when.condition(&held))
            .with_expiry(*expiry);
        let (outcome, stamp) = writer.timed(writer.set(&prepared.key, new.clone(), options)).await?;
        let expected = if when.holds(prepared.state) {
            SetOutcome::Written
        } else {
            SetOutcome::Refused
        };
        ensure_eq!(outcome, expected, "{}", prepared.key);
        written.push(stamp);
    }
    for look in 0..2 {
        for (number, ((when, expiry, _), prepared)) in cases.iter().zip(&keys).enumerate() {
            let reader = if (number + look) % 2 == 0 { &other } else { store };
            if when.holds(prepared.state) {
                reader.holds(&prepared.key, &new).await?;
                prepared.has_expiry(reader, *expiry, written[number]).await?;
            } else {
                prepared.is_unchanged(reader).await?;
            }
        }
        cx.pass(cx.noticeable()).await;
    }
    if cx.virtual_time().is_none() {
        return Ok(());
    }
    // Only deadlines that were set or kept may take effect.
    cx.outlive(TTL).await;
    for ((when, expiry, _), prepared) in cases.iter().zip(&keys) {
        let is_there = match (when.holds(prepared.state), expiry) {
            (true, Expiry::Never) => true,
            (true, Expiry::After(ttl)) => *ttl > TTL * 2,
            (true, Expiry::Keep) => prepared.state != State::Timed,
            (false, _) => prepared.state == State::Persistent,
        };
        let got = store.get(&prepared.key).await?.is_some();
        ensure_eq!(got, is_there, "{}, {TTL:?} later: whether it is there", prepared.key);
    }
    Ok(())
}

/// Checks `expire` with each expiry and each state: the answer, the value and the time to live.
pub(super) async fn expires<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>, length: usize) -> Checked {
    let other = cx.second(store);
    let held = letters(length, 0);
    let expiries = EXPIRIES.into_iter().chain([Expiry::After(Duration::ZERO)]);
    let mut cases: Vec<(Expiry, Prepared)> = expiries
        .flat_map(|expiry| State::ALL.map(|state| (expiry, state)))
        .map(|(expiry, state)| {
            let case = format!("expire({}) of {length} bytes", name(expiry));
            (expiry, Prepared::new(&case, state, held.clone()))
        })
        .collect();
    let mut keys: Vec<Prepared> = cases.iter().map(|(_, prepared)| prepared.clone()).collect();
    prepare(cx, store, &mut keys).await?;
    for ((_, prepared), key) in cases.iter_mut().zip(keys) {
        *prepared = key;
    }
    let mut stamps: Vec<Stamp> = Vec::new();
    for (expiry, prepared) in &cases {
        let (found, stamp) = other.timed(other.expire(&prepared.key, *expiry)).await?;
        ensure_eq!(found, prepared.state.is_present(), "{}", prepared.key);
        stamps.push(stamp);
    }
    cx.pass(cx.noticeable()).await;
    for ((expiry, prepared), stamp) in cases.iter().zip(&stamps) {
        if !prepared.state.is_present() || *expiry == Expiry::After(Duration::ZERO) {
            store.lacks(&prepared.key).await?;
            continue;
        }
        store.holds(&prepared.key, &held).await?;
        prepared.has_expiry(store, *expiry, *stamp).await?;
    }
    Ok(())
}

/// Checks `incr` with each treatment of a missing key, in each state, across changes in the number
/// of digits: the sum, the text and the time to live.
pub(super) async fn increments<H: Harness>(cx: &Context<'_, H>) -> Checked {
    /// The value of a counter, and the delta.
    const STEPS: [(i64, i64); 13] = [
        (0, 0),
        (9, 1),
        (10, -1),
        (-1, 1),
        (1, -2),
        (99, 901),
        (-10, 9),
        (255, 1),
        (65_535, 1),
        (4_294_967_295, 1),
        (999_999_999_999_999_999, 1),
        (-9_223_372_036_854_775_807, -1),
        // At this place also on a missing key.
        (5, 0),
    ];
    let store = cx.store().await;
    let other = cx.second(&store);
    let on_missing = EXPIRIES.map(OnMissing::Create).into_iter().chain([OnMissing::Refuse]);
    let mut cases = Vec::new();
    for on_missing in on_missing {
        for (number, state) in State::ALL.into_iter().enumerate() {
            for (held, delta) in STEPS.into_iter().skip(number % 3).step_by(3) {
                let what = match on_missing {
                    OnMissing::Create(expiry) => format!("Create({})", name(expiry)),
                    OnMissing::Refuse => "Refuse".to_owned(),
                };
                let case = format!("incr of {held} by {delta} with {what}");
                cases.push((on_missing, held, delta, Prepared::new(&case, state, held.to_string())));
            }
        }
    }
    let mut keys: Vec<Prepared> = cases.iter().map(|(.., prepared)| prepared.clone()).collect();
    prepare(cx, &store, &mut keys).await?;
    let mut stamps = Vec::new();
    for ((on_missing, held, delta, _), prepared) in cases.iter().zip(&keys) {
        let (sum, stamp) = other.timed(other.incr(&prepared.key, *delta, *on_missing)).await?;
        let expected = match (prepared.state.is_present(), on_missing) {
            (true, _) => held.checked_add(*delta),
            (false, OnMissing::Create(_)) => Some(*delta),
            (false, OnMissing::Refuse) => None,
        };
        ensure_eq!(sum, expected, "{}", prepared.key);
        stamps.push((sum, stamp));
    }
    cx.pass(cx.noticeable()).await;
    for (((on_missing, ..), prepared), (sum, stamp)) in cases.iter().zip(&keys).zip(stamps) {
        let Some(sum) = sum else {
            store.lacks(&prepared.key).await?;
            continue;
        };
        store.holds(&prepared.key, sum.to_string()).await?;
        match on_missing {
            OnMissing::Create(expiry) if !prepared.state.is_present() => {
                prepared.has_expiry(&store, *expiry, stamp).await?;
            }
            _ => prepared.keeps_its_ttl(&store).await?,
        }
    }
    Ok(())
}

/// Checks a `set_many` with each expiry over keys in every state, and a `get_many` of all these
/// keys.
pub(super) async fn set_manys<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for_each(cx, &EXPIRIES, |expiry| set_many(cx, &store, expiry)).await
}

async fn set_many<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>, expiry: Expiry) -> Checked {
    let other = cx.second(store);
    let mut keys: Vec<Prepared> = (0..3)
        .flat_map(|round| State::ALL.map(|state| (round, state)))
        .map(|(round, state)| {
            let case = format!("set_many with {} (entry {round})", name(expiry));
            Prepared::new(&case, state, letters(65, 0))
        })
        .collect();
    prepare(cx, store, &mut keys).await?;
    // The last value is large, because stores may keep such values elsewhere.
    let last = keys.len() - 1;
    let value = |number: usize| letters(if number == last { LARGE } else { number * 40 }, number + 1);
    let entries: Vec<(&str, Bytes)> = keys
        .iter()
        .enumerate()
        .map(|(number, prepared)| (prepared.key.as_str(), value(number)))
        .collect();
    let ((), written) = other.timed(other.set_many(&entries, expiry)).await?;
    cx.pass(cx.noticeable()).await;
    let names: Vec<&str> = keys.iter().map(|prepared| prepared.key.as_str()).collect();
    let got = store.get_many(&names).await?;
    ensure_eq!(got.len(), names.len(), "number of answers of get_many");
    for (number, (prepared, got)) in keys.iter().zip(got).enumerate() {
        ensure_same(
            got.as_ref(),
            Some(&value(number)),
            &format!("get_many of {}", show(&prepared.key)),
        )?;
        prepared.has_expiry(store, expiry, written).await?;
    }
    Ok(())
}

/// Checks that all ways of reading a key agree, in every state, and that they change nothing.
pub(super) async fn reads<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>, length: usize) -> Checked {
    let other = cx.second(store);
    let value = letters(length, 0);
    let mut keys: Vec<Prepared> = State::ALL
        .into_iter()
        .map(|state| Prepared::new(&format!("a read of {length} bytes"), state, value.clone()))
        .collect();
    prepare(cx, store, &mut keys).await?;
    let first_read = cx.now();
    for reader in [store, &other] {
        for prepared in &keys {
            let (key, is_there) = (prepared.key.as_str(), prepared.state.is_present());
            let expected = is_there.then_some(&value);
            let (both, asked) = reader.timed(reader.get_with_ttl(key)).await?;
            let what = format!("get_with_ttl of {}", show(&key));
            ensure_same(both.as_ref().map(|(value, _)| value), expected, &what)?;
            if let Some((_, ttl)) = both {
                reader
                    .agrees_with_ttl(key, ttl, asked, first_read, "get_with_ttl")
                    .await?;
            }
            let many = reader.get_many(&[key, "never set", key]).await?;
            for (at, got) in many.iter().enumerate() {
                let expected = if at == 1 { None } else { expected };
                ensure_same(
                    got.as_ref(),
                    expected,
                    &format!("get_many of {}, answer {at}", show(&key)),
                )?;
            }
            ensure_eq!(many.len(), 3, "number of answers of get_many of {}", show(&key));
        }
    }
    cx.pass(cx.noticeable()).await;
    for prepared in &keys {
        prepared.is_unchanged(&other).await?;
    }
    Ok(())
}

/// Checks values of each length, written and read in every way, on two handles.
pub(super) async fn values<H: Harness>(cx: &Context<'_, H>, lengths: &[usize]) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    for (round, &length) in lengths.iter().enumerate() {
        let seed = round * 5;
        // Clause set-10 allows a store to refuse more than a mebibyte.
        let may_refuse = length > 1 << 20 && !store.capabilities().contains(Capability::LargeValues);
        if may_refuse && store.set("k", bytes(length, seed), SetOptions::new()).await.is_err() {
            continue;
        }
        let ways = [
            ("set", SetOptions::new()),
            ("set(IfPresent)", SetOptions::if_present()),
            (
                "set(IfEquals) with Keep",
                SetOptions::new()
                    .with_condition(Condition::IfEquals(bytes(length, seed + 1)))
                    .with_expiry(Expiry::Keep),
            ),
            ("set with After", SetOptions::expires_after(TTL)),
        ];
        for (way, (what, options)) in ways.into_iter().enumerate() {
            let value = bytes(length, seed + way);
            let outcome = store.set("k", value.clone(), options).await?;
            // The key exists from the first length on.
            ensure_eq!(outcome, SetOutcome::Written, "{what} of {length} bytes");
            is_read(&other, "k", &value, &format!("after {what} of {length} bytes")).await?;
        }
        let fresh = format!("{length} bytes");
        store
            .write(&fresh, bytes(length, seed), SetOptions::if_absent())
            .await?;
        is_read(
            &other,
            &fresh,
            &bytes(length, seed),
            &format!("after set(IfAbsent) of {length} bytes"),
        )
        .await?;

        let entries = ["first", "k", "last"].map(|key| (key, bytes(length, seed + key.len())));
        other.set_many(&entries, Expiry::Never).await?;
        for (key, value) in entries {
            is_read(
                &store,
                key,
                &value,
                &format!("after set_many of three values of {length} bytes"),
            )
            .await?;
        }
        ensure_eq!(
            store.del(&[&fresh, "first", "last"]).await?,
            3,
            "del of values of {length} bytes"
        );
    }
    Ok(())
}

/// Checks that every way of reading the key returns `value`.
async fn is_read<B: KvBackend>(reader: &Store<B>, key: &str, value: &Bytes, when: &str) -> Checked {
    ensure_same(reader.get(key).await?.as_ref(), Some(value), &format!("get {when}"))?;
    let many = reader.get_many(&["never set", key, key]).await?;
    ensure_eq!(many.len(), 3, "number of answers of get_many {when}");
    for (at, expected) in [None, Some(value), Some(value)].into_iter().enumerate() {
        ensure_same(many[at].as_ref(), expected, &format!("get_many {when}, answer {at}"))?;
    }
    let with_ttl = reader.get_with_ttl(key).await?;
    let got = with_ttl.as_ref().map(|(value, _)| value);
    ensure_same(got, Some(value), &format!("get_with_ttl {when}"))
}
