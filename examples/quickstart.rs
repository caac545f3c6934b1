//! A tour of caches and sessions, with the time that each step took.
//!
//! `cargo run --example quickstart` keeps everything in memory. With the argument
//! `-- redis://127.0.0.1:6379` it uses Redis, under keys that begin with `codex-kv-quickstart`, and
//! removes them afterwards.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints its results")]

use std::{
    error::Error,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use codex_kv::{
    AnyBackend, Cache, DjangoSigned, KvBackend, SessionError, SessionKey, SessionStore, SetOptions, Timeout,
    namespaced_key,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The prefix of every key of this example.
const PROJECT: &str = "codex-kv-quickstart";
/// The number of sequential reads that are timed.
const READS: u32 = 1000;

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    match run(&url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str) -> Result<()> {
    let backend = codex_kv::connect(url).await?;
    println!("Cache");
    cache(backend.clone()).await?;
    println!("\nSessions");
    sessions(backend.clone()).await?;
    println!("\nSpeed: {READS} reads of a cached value, one after another");
    speed(url, backend).await
}

/// Prints a step, its result and the time since `started`.
fn step(started: Instant, name: &str, result: &str) {
    println!("  {name:<18} {result:<66} {:>9}", short(started.elapsed()));
}

/// Returns a duration with three digits and its unit.
fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1000.0 => format!("{micros:.1} µs"),
        _ => format!("{:.1} ms", micros / 1000.0),
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    born: u16,
}

async fn cache(backend: AnyBackend) -> Result<()> {
    let cache = Cache::builder(backend)
        .key_prefix(PROJECT)
        .default_timeout(Duration::from_secs(300))
        .build()?;
    // An earlier run may have been stopped before it removed its keys.
    cache.clear().await?;

    let started = Instant::now();
    let name = "Ada".to_owned();
    cache
        .set("user:1", &User { name, born: 1815 }, Timeout::Default)
        .await?;
    let ada: User = cache.get("user:1").await?.ok_or("the value is gone")?;
    let result = format!("stored a struct and read it back: {}, born {}", ada.name, ada.born);
    step(started, "set, get", &result);

    let started = Instant::now();
    let first = cache.add("lock", "me", Duration::from_secs(30)).await?;
    let second = cache.add("lock", "you", Duration::from_secs(30)).await?;
    let result = format!(
        "two callers claimed one key: {} won",
        u8::from(first) + u8::from(second)
    );
    step(started, "add", &result);

    let started = Instant::now();
    cache.set("visits", &0, Timeout::Never).await?;
    cache.incr("visits", 1).await?;
    let visits = cache.incr("visits", 2).await?;
    step(started, "incr", &format!("counted atomically: {visits} visits"));

    let started = Instant::now();
    cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    let found = cache.get_many::<i64>(["a", "b", "c"]).await?;
    let result = format!("wrote 2 keys together and read 3 together: found {}", found.len());
    step(started, "set_many, get_many", &result);

    let started = Instant::now();
    let runs = compute_together(&cache, 8).await?;
    let result = format!("8 tasks missed the same 20 ms report: it was computed {runs} time(s)");
    step(started, "single flight", &result);

    let started = Instant::now();
    cache.set("soon gone", &true, Duration::from_millis(50)).await?;
    tokio::time::sleep(Duration::from_millis(80)).await;
    let there = cache.has_key("soon gone").await?;
    let result = format!(
        "a value with a timeout of 50 ms, after 80 ms: {}",
        if there { "still there" } else { "gone" }
    );
    step(started, "expiry", &result);

    let started = Instant::now();
    let removed = cache.clear().await?;
    step(
        started,
        "clear",
        &format!("removed the {removed} keys of this cache and no others"),
    );
    Ok(())
}

/// Returns how often the closure ran when several tasks wanted its value at the same time.
async fn compute_together(cache: &Cache, tasks: usize) -> Result<u32> {
    let runs = Arc::new(AtomicU32::new(0));
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (cache, runs) = (cache.clone(), Arc::clone(&runs));
        set.spawn(async move {
            let slow_report = || async {
                runs.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok::<_, std::io::Error>("the report".to_owned())
            };
            cache
                .get_or_try_set_with("report", Duration::from_secs(60), slow_report)
                .await
        });
    }
    while let Some(answer) = set.join_next().await {
        if answer?? != "the report" {
            return Err("a task got another value".into());
        }
    }
    Ok(runs.load(Ordering::Relaxed))
}

#[derive(Deserialize)]
struct GoldenData {
    secret_key: String,
    sessions: Vec<GoldenSession>,
}

#[derive(Deserialize)]
struct GoldenSession {
    name: String,
    encoded: String,
}

async fn sessions(backend: AnyBackend) -> Result<()> {
    // Sessions that a real Django wrote, with its SECRET_KEY.
    let golden: GoldenData = serde_json::from_str(include_str!("../tests/data/sessions.json"))?;
    let store = SessionStore::builder(backend.clone())
        .project(PROJECT)
        .codec(DjangoSigned::new(golden.secret_key))
        .build()?;

    let started = Instant::now();
    let mut session = store.create().await?;
    session.insert("cart", ["tea", "cups"])?;
    store.save(&mut session).await?;
    let key = key_of(session.key())?;
    let mut loaded = store.load(&key).await?.ok_or("the session is gone")?;
    let cart: Vec<String> = loaded.get("cart")?.unwrap_or_default();
    step(
        started,
        "create, save, load",
        &format!("the cart holds {}", cart.join(" and ")),
    );

    let started = Instant::now();
    store.update(&key, |other| other.insert("theme", "dark")).await?;
    loaded.insert("cart", ["tea"])?;
    let result = match store.save(&mut loaded).await {
        Err(SessionError::Conflict) => "a save over another request's change was refused: nothing is lost",
        Err(error) => return Err(error.into()),
        Ok(()) => "a save overwrote another request's change",
    };
    step(started, "conflict", result);

    let started = Instant::now();
    let mut session = store.load(&key).await?.ok_or("the session is gone")?;
    store.cycle_key(&mut session).await?;
    let old = if store.exists(&key).await? {
        "still works"
    } else {
        "is worthless"
    };
    step(
        started,
        "cycle_key",
        &format!("a new key at login; a stolen old key {old}"),
    );

    let started = Instant::now();
    let key = key_of(session.key())?;
    store.flush(&mut session).await?;
    let there = if store.load(&key).await?.is_some() {
        "still there"
    } else {
        "gone"
    };
    step(
        started,
        "flush",
        &format!("logged out: the session is {there} on the server too"),
    );

    let started = Instant::now();
    let login = golden.sessions.into_iter().find(|session| session.name == "login");
    let record = login.ok_or("the golden data has no login")?.encoded;
    let key: SessionKey = "a-session-that-django-wrote".parse()?;
    let stored = namespaced_key(PROJECT, "session", key.as_str());
    let expiry = SetOptions::expires_after(Duration::from_secs(60));
    if !backend.set(&stored, record.into(), expiry).await?.is_written() {
        return Err("the store refused a write without a condition".into());
    }
    let session = store.load(&key).await?.ok_or("Django's session cannot be read")?;
    let user: String = session.get("_auth_user_id")?.unwrap_or_default();
    step(
        started,
        "Django",
        &format!("read a session that Django wrote: user {user} is logged in"),
    );
    store.delete(&key).await?;
    Ok(())
}

fn key_of(key: Option<&SessionKey>) -> Result<SessionKey> {
    Ok(key.ok_or("the session has no key")?.clone())
}

async fn speed(url: &str, backend: AnyBackend) -> Result<()> {
    let memory = codex_kv::connect("memory://").await?;
    print_speed("memory", memory).await?;
    if url.starts_with("memory:") {
        println!("  {:<18} run again with `-- redis://127.0.0.1:6379`", "Redis");
        return Ok(());
    }
    print_speed("Redis", backend).await?;
    // Redis invalidates the keys that this process has read, so a repeated read needs no round
    // trip.
    let near = format!("{url}{}near=16MiB", if url.contains('?') { '&' } else { '?' });
    match codex_kv::connect(&near).await {
        Ok(near) => print_speed("near cache", near).await,
        Err(error) => {
            println!("  {:<18} {error}", "near cache");
            Ok(())
        }
    }
}

async fn print_speed(name: &str, backend: AnyBackend) -> Result<()> {
    println!("  {name:<18} {} each", short(time_reads(backend).await?));
    Ok(())
}

/// Returns the mean duration of a read of a small value.
async fn time_reads(backend: AnyBackend) -> Result<Duration> {
    let cache = Cache::builder(backend).key_prefix(PROJECT).build()?;
    cache.set("greeting", "hello", Duration::from_secs(60)).await?;
    let started = Instant::now();
    for _ in 0..READS {
        let greeting: Option<String> = cache.get("greeting").await?;
        if greeting.as_deref() != Some("hello") {
            return Err("the store lost a value".into());
        }
    }
    let time = started.elapsed() / READS;
    cache.clear().await?;
    Ok(time)
}
