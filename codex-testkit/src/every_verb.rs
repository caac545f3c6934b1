//! One call of every verb, each on its own keys: the answer of a working store, and whether the
//! call was executed.

use std::{fmt, time::Duration};

use bytes::Bytes;
use codex_traits::{Condition, Error, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions, Ttl};

use crate::{
    context::Store,
    failure::{Checked, ensure_eq},
};

/// The effect of a verb on the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    /// Changes the store without needing memory.
    Changes,
    /// Needs memory.
    Grows,
}

/// A call and its answer. Answers are kept as text, so that they all have the same type.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) verb: &'static str,
    pub(crate) effect: Effect,
    pub(crate) answer: Result<String, Error>,
    /// The answer of a working store.
    pub(crate) truth: &'static str,
}

impl Made {
    fn new<T: fmt::Debug>(verb: &'static str, effect: Effect, answer: Result<T, Error>, truth: &'static str) -> Self {
        let answer = answer.map(|answer| format!("{answer:?}"));
        Self {
            verb,
            effect,
            answer,
            truth,
        }
    }
}

/// The initial value of each key.
const BEFORE: [(&str, &str); 14] = [
    ("get", "here"),
    ("set", "old"),
    ("del", "old"),
    ("del_if_equals", "old"),
    ("expire", "old"),
    ("ttl", "old"),
    ("scan", "old"),
    ("get_many", "here"),
    ("set_many", "old"),
    ("incr", "5"),
    ("del_matching", "old"),
    ("get_with_ttl", "here"),
    ("set(IfPresent)", "old"),
    ("set(IfEquals)", "old"),
];

/// Writes the initial values.
pub(crate) async fn prepare<B: KvBackend>(store: &Store<B>) -> Checked {
    for (key, value) in BEFORE {
        store.put(key, value).await?;
        store.is_persistent(key).await?;
    }
    store.del(&["set(IfAbsent)"]).await?;
    ensure_eq!(store.get("get").await?, Some(Bytes::from_static(b"here")), "get");
    Ok(())
}

/// Makes all calls concurrently, because each may take its full deadline.
pub(crate) async fn make_every_call<B: KvBackend>(store: &Store<B>) -> Vec<Made> {
    let new = || Bytes::from_static(b"new");
    let entries = [("set_many", new())];
    let matching = Pattern::glob("del_matching");
    let equal = SetOptions::new().with_condition(Condition::IfEquals(Bytes::from_static(b"old")));
    let (
        get,
        set,
        del,
        del_if_equals,
        expire,
        ttl,
        scan,
        get_many,
        set_many,
        incr,
        refused,
        del_matching,
        get_with_ttl,
        if_absent,
        if_present,
        if_equals,
    ) = tokio::join!(
        store.get("get"),
        store.set("set", new(), SetOptions::new()),
        store.del(&["del"]),
        store.del_if_equals("del_if_equals", b"old"),
        store.expire("expire", Expiry::After(Duration::from_secs(1000))),
        store.ttl("ttl"),
        scan(store),
        store.get_many(&["get_many", "missing"]),
        store.set_many(&entries, Expiry::Never),
        store.incr("incr", 1, OnMissing::Refuse),
        store.incr("missing", 1, OnMissing::Refuse),
        store.del_matching(&matching),
        store.get_with_ttl("get_with_ttl"),
        Box::pin(store.set("set(IfAbsent)", new(), SetOptions::if_absent())),
        Box::pin(store.set("set(IfPresent)", new(), SetOptions::if_present())),
        Box::pin(store.set("set(IfEquals)", new(), equal)),
    );
    vec![
        Made::new("get", Effect::Reads, get, "Some(b\"here\")"),
        Made::new("set", Effect::Grows, set, "Written"),
        Made::new("del", Effect::Changes, del, "1"),
        Made::new("del_if_equals", Effect::Changes, del_if_equals, "true"),
        Made::new("expire", Effect::Changes, expire, "true"),
        Made::new("ttl", Effect::Reads, ttl, "Persistent"),
        Made::new("scan", Effect::Reads, scan, "[\"scan\"]"),
        Made::new("get_many", Effect::Reads, get_many, "[Some(b\"here\"), None]"),
        Made::new("set_many", Effect::Grows, set_many, "()"),
        Made::new("incr", Effect::Grows, incr, "Some(6)"),
        Made::new("incr of a missing key", Effect::Reads, refused, "None"),
        Made::new("del_matching", Effect::Changes, del_matching, "1"),
        Made::new(
            "get_with_ttl",
            Effect::Reads,
            get_with_ttl,
            "Some((b\"here\", Persistent))",
        ),
        Made::new("set(IfAbsent)", Effect::Grows, if_absent, "Written"),
        Made::new("set(IfPresent)", Effect::Grows, if_present, "Written"),
        Made::new("set(IfEquals)", Effect::Grows, if_equals, "Written"),
    ]
}

/// Returns the matching keys from all pages.
async fn scan<B: KvBackend>(store: &Store<B>) -> Result<Vec<String>, Error> {
    let pattern = Pattern::glob("scan");
    let mut request = ScanRequest::new(&pattern);
    let mut keys = Vec::new();
    loop {
        let page = store.scan(request).await?;
        keys.extend(page.keys);
        let Some(next) = page.next else {
            keys.sort();
            keys.dedup();
            return Ok(keys);
        };
        request = ScanRequest::new(&pattern).with_cursor(next);
    }
}

/// Returns whether a writing call was executed, or `None` for a verb that only reads.
pub(crate) async fn is_applied<B: KvBackend>(store: &Store<B>, verb: &str) -> Checked<Option<bool>> {
    Ok(match verb {
        "set" | "set_many" | "set(IfAbsent)" | "set(IfPresent)" | "set(IfEquals)" => {
            Some(store.get(verb).await?.as_deref() == Some(b"new"))
        }
        "del" | "del_if_equals" | "del_matching" => Some(store.get(verb).await?.is_none()),
        "expire" => Some(store.ttl(verb).await? != Ttl::Persistent),
        "incr" => Some(store.get(verb).await?.as_deref() == Some(b"6")),
        _ => None,
    })
}
