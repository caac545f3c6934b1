//! Caches typed values and keeps sessions: on the embedded store, or on a Redis whose URL is given
//! as an argument.
//!
//! `cargo run --example quickstart`, `cargo run --example quickstart -- redis://127.0.0.1:6379`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::{
    error::Error,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use codex_kv::{
    AnyBackend, Cache, DjangoSigned, KvBackend, SessionError, SessionKey, SessionStore, SetOptions, Timeout,
    namespaced_key,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// What every key of this example begins with.
const PROJECT: &str = "codex-kv-quickstart";

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

fn yes_or_no(truth: bool) -> &'static str {
    if truth { "yes" } else { "no" }
}

async fn run(url: &str) -> Result<(), Box<dyn Error>> {
    let backend = codex_kv::connect(url).await?;
    cache(backend.clone()).await?;
    println!();
    sessions(backend).await
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    born: u16,
}

async fn cache(backend: AnyBackend) -> Result<(), Box<dyn Error>> {
    let cache = Cache::builder(backend)
        .key_prefix(PROJECT)
        .default_timeout(Duration::from_mins(5))
        .build()?;
    // What an earlier run may have left when it was stopped.
    cache.clear().await?;
    println!("A cache");

    let ada = User {
        name: "Ada".to_owned(),
        born: 1815,
    };
    cache.set("user:1", &ada, Timeout::Default).await?;
    if let Some(User { name, born }) = cache.get("user:1").await? {
        println!("  set, get        user:1 is {name}, born {born}");
    }
    let missing: Option<User> = cache.get("user:2").await?;
    println!("  get             user:2 is there: {}", yes_or_no(missing.is_some()));

    let first = cache.add("lock", "me", Duration::from_secs(30)).await?;
    let second = cache.add("lock", "you", Duration::from_secs(30)).await?;
    println!(
        "  add             wrote the first time: {}, the second time: {}",
        yes_or_no(first),
        yes_or_no(second)
    );

    cache.set("visits", &0, Timeout::Never).await?;
    cache.incr("visits", 1).await?;
    println!("  incr            {} visits", cache.incr("visits", 2).await?);

    cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    let found = cache.get_many::<i64>(["a", "b", "c"]).await?;
    println!("  get_many        found {} of 3 keys", found.len());

    let (computed, answers) = compute_at_once(&cache, 8).await?;
    println!("  compute         {answers} tasks asked at once, the closure ran {computed} time(s)");

    cache.set("soon gone", &true, Duration::from_millis(50)).await?;
    let before = cache.has_key("soon gone").await?;
    tokio::time::sleep(Duration::from_millis(80)).await;
    let after = cache.has_key("soon gone").await?;
    println!(
        "  expiry          there at once: {}, when its 50 ms are over: {}",
        yes_or_no(before),
        yes_or_no(after)
    );

    println!(
        "  clear           removed {} keys, and nothing else",
        cache.clear().await?
    );
    Ok(())
}

/// How often the closure ran, and how many tasks got the right value.
async fn compute_at_once(cache: &Cache<AnyBackend>, tasks: usize) -> Result<(u32, usize), Box<dyn Error>> {
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
                .get_or_try_set_with("report", Duration::from_mins(1), slow_report)
                .await
        });
    }
    let mut answers = 0;
    while let Some(answer) = set.join_next().await {
        answers += usize::from(answer?? == "the report");
    }
    Ok((runs.load(Ordering::Relaxed), answers))
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

async fn sessions(backend: AnyBackend) -> Result<(), Box<dyn Error>> {
    let golden: GoldenData = serde_json::from_str(include_str!("../tests/data/sessions.json"))?;
    let store = SessionStore::builder(backend.clone())
        .project(PROJECT)
        .codec(DjangoSigned::new(golden.secret_key))
        .build()?;
    println!("A session store");

    let mut session = store.create().await?;
    let key = stored_key(session.key())?;
    println!("  create          {}", key.as_str());

    session.insert("cart", vec!["tea", "cups"])?;
    store.save(&mut session).await?;
    let mut reloaded = store.load(&key).await?.ok_or("the session is gone")?;
    let cart: Option<Vec<String>> = reloaded.get("cart")?;
    println!(
        "  save, load      the cart holds {}",
        cart.unwrap_or_default().join(" and ")
    );

    // Another request changes the session while this one still holds what it loaded.
    store.update(&key, |other| other.insert("theme", "dark")).await?;
    reloaded.insert("cart", ["tea"])?;
    let refused = matches!(store.save(&mut reloaded).await, Err(SessionError::Conflict));
    println!(
        "  conflict        a save over another request's change was refused: {}",
        yes_or_no(refused)
    );

    let mut session = store.load(&key).await?.ok_or("the session is gone")?;
    store.cycle_key(&mut session).await?;
    let new_key = stored_key(session.key())?;
    println!("  cycle_key       {}", new_key.as_str());
    let old_is_there = store.exists(&key).await?;
    println!("                  the old key is there: {}", yes_or_no(old_is_there));
    store.flush(&mut session).await?;
    let new_is_there = store.exists(&new_key).await?;
    println!("  flush           the new key is there: {}", yes_or_no(new_is_there));

    let login = golden.sessions.into_iter().find(|session| session.name == "login");
    let login = login.ok_or("the golden data has no login")?;
    let key: SessionKey = "a-session-that-django-wrote".parse()?;
    let record = namespaced_key(PROJECT, "session", key.as_str());
    let options = SetOptions::expires_after(Duration::from_mins(1));
    // As Django does it, with no condition, so there is no refusal to look at.
    let _ = backend.set(&record, login.encoded.into(), options).await?;
    let session = store.load(&key).await?.ok_or("Django's session cannot be read")?;
    let user: Option<String> = session.get("_auth_user_id")?;
    println!("  from Django     logged in is user {}", user.unwrap_or_default());
    store.delete(&key).await?;
    Ok(())
}

fn stored_key(key: Option<&SessionKey>) -> Result<SessionKey, Box<dyn Error>> {
    Ok(key.ok_or("the session has no key")?.clone())
}
