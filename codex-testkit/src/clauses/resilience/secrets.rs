//! Secrets must not appear in errors, `Debug` output or logs.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Condition, Cursor, Error, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::runtimes::on_a_runtime_of_its_own;
use crate::{
    Foreign, Harness, OutageKind,
    context::{Context, Store},
    failure::{Checked, ensure},
};

const KEY: &str = "key-Zq7mWx";
const VALUE: &str = "value-Rk3vTn";

pub(crate) async fn life_07_nothing_secret_is_shown<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let outage = cx.outage().await;
    let kinds = outage.as_ref().map(crate::Outage::kinds).unwrap_or_default();
    let log = Log::default();
    let text = log.0.clone();
    // With a single dispatcher, `tracing` caches the interest of the first thread that reaches an
    // event, and may disable the event for all threads.
    let _second = Dispatch::new(log.clone());
    // The subscriber is set for one thread. On a single-threaded runtime it sees everything that
    // the backend does there.
    let shown = tracing::subscriber::with_default(log, || {
        on_a_runtime_of_its_own(async {
            let store = cx.store().await;
            let mut shown = format!("{:?} {:#?}", store, store.capabilities());
            store.put(KEY, VALUE).await?;
            for foreign in [Foreign::List {
                key: format!("{KEY}-list"),
            }] {
                cx.harness.plant(store.backend(), &foreign).await;
            }
            provoke(&store, &mut shown).await;
            refuse_and_expire(cx, &store, &mut shown).await;
            for kind in kinds {
                let Some(outage) = &outage else { break };
                if !kind.is_of_the_store() && kind != OutageKind::ReplyLost {
                    continue;
                }
                outage.begin(kind).await;
                provoke(&store, &mut shown).await;
                outage.end().await;
            }
            drop(store);
            Checked::Ok(shown)
        })
    })?;
    let text = text.lock().unwrap_or_else(PoisonError::into_inner);
    let mut secrets = cx.harness.secrets();
    secrets.extend([KEY, VALUE].map(str::to_owned));
    // Bytes can also be shown as numbers.
    secrets.extend([KEY, VALUE].map(|secret| format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned()));
    for (place, text) in [("an error or a Debug", &*shown), ("a log line", &*text)] {
        for (number, secret) in secrets.iter().enumerate() {
            // The message of this failure must not show the secret either.
            let at = text.find(secret);
            ensure!(
                at.is_none(),
                "{place} shows {}, beside this: {}",
                match number.checked_sub(secrets.len() - 4) {
                    Some(0 | 2) => "a key",
                    Some(_) => "a value",
                    None => "a secret of the harness",
                },
                before(text, at.unwrap_or(0))
            );
        }
    }
    Ok(())
}

/// Returns the text before `at`, for context.
fn before(text: &str, at: usize) -> String {
    let start = at.saturating_sub(80);
    String::from_utf8_lossy(&text.as_bytes()[start..at]).into_owned()
}

/// Provokes failures of as many verbs as possible with a known key and value, and collects the
/// output.
async fn provoke<B: KvBackend>(store: &Store<B>, shown: &mut String) {
    let value = || Bytes::from_static(VALUE.as_bytes());
    let list = format!("{KEY}-list");
    let forever = SetOptions::new();
    let too_long = Expiry::After(Duration::MAX);
    let if_equals = SetOptions::new().with_condition(Condition::IfEquals(value()));
    for options in [
        forever,
        SetOptions::expires_after(Duration::ZERO),
        if_equals.with_expiry(too_long),
    ] {
        let _ = write!(shown, " {options:?}");
        keep(shown, store.set(KEY, value(), options).await);
    }
    for key in [KEY, &list] {
        keep(shown, store.get(key).await);
        keep(shown, store.ttl(key).await);
        keep(shown, store.incr(key, 1, OnMissing::Refuse).await);
        keep(shown, store.incr(key, 1, OnMissing::Create(too_long)).await);
        keep(shown, store.expire(key, too_long).await);
        keep(shown, store.del_if_equals(key, VALUE.as_bytes()).await);
        keep(shown, store.get_many(&[key, key]).await);
    }
    keep(shown, store.set_many(&[(KEY, value())], too_long).await);
    keep(shown, store.set_many(&[(KEY, value())], Expiry::Never).await);
    let pattern = Pattern::prefix(KEY);
    let _ = write!(shown, " {pattern:?}");
    keep(shown, store.scan(ScanRequest::new(&pattern).with_count_hint(0)).await);
    if let Ok(cursor) = KEY.parse::<Cursor>() {
        let request = ScanRequest::new(&pattern).with_cursor(cursor);
        let _ = write!(shown, " {request:?}");
        keep(shown, store.scan(request).await);
    }
    let page = store.scan(ScanRequest::new(&pattern).with_count_hint(1)).await;
    let _ = write!(shown, " {page:?}");
    keep(shown, store.del(&[KEY]).await);
    keep(shown, store.del_matching(&pattern).await);
    let _ = write!(shown, " {store:?}");
}

/// Makes calls that are refused, that expire, and that are large: what a backend may find worth a
/// line of its log.
async fn refuse_and_expire<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>, shown: &mut String) {
    let value = || Bytes::from_static(VALUE.as_bytes());
    let other = Bytes::from(format!("{VALUE} and more"));
    let brief = SetOptions::expires_after(cx.short());
    keep(
        shown,
        store
            .set(KEY, Bytes::from(VALUE.repeat(20_000)), SetOptions::new())
            .await,
    );
    keep(shown, store.set(KEY, value(), SetOptions::new()).await);
    keep(shown, store.set(KEY, value(), SetOptions::if_absent()).await);
    let equal = SetOptions::new().with_condition(Condition::IfEquals(other.clone()));
    keep(shown, store.set(KEY, value(), equal).await);
    keep(shown, store.del_if_equals(KEY, &other).await);
    // Each of these keys is first found to have expired by another verb.
    let keys = ["get", "set", "get_many", "scan", "incr"].map(|verb| format!("{KEY}-{verb}"));
    for key in &keys {
        keep(shown, store.set(key, value(), brief.clone()).await);
    }
    cx.outlive(cx.short()).await;
    keep(shown, store.get(&keys[0]).await);
    keep(shown, store.set(&keys[1], value(), SetOptions::if_present()).await);
    keep(shown, store.get_many(&[&keys[2]]).await);
    let pattern = Pattern::prefix(KEY);
    keep(shown, store.scan(ScanRequest::new(&pattern)).await);
    keep(shown, store.incr(&keys[4], 1, OnMissing::Refuse).await);
    keep(shown, store.del_matching(&pattern).await);
}

fn keep<T>(shown: &mut String, answer: Result<T, Error>) {
    let Err(error) = answer else { return };
    let _ = write!(shown, " {error} {error:?} {error:#?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        let _ = write!(shown, " {error}");
        cause = error.source();
    }
}

/// All log output, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn write(&self, record: impl FnOnce(&mut dyn Visit)) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record(&mut Fields(&mut text));
        text.push('\n');
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.write(|fields| span.record(fields));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        self.write(|fields| values.record(fields));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.write(|fields| event.record(fields));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}
