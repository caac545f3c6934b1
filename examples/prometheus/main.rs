//! A service that exports the metrics of its cache to Prometheus.
//!
//! `cargo run -p prometheus-example` caches in memory. With `REDIS_URL=redis://127.0.0.1:6379` it
//! caches in Redis, with the key prefix `prometheus-example`. Prometheus scrapes
//! <http://127.0.0.1:3000/metrics>. <http://127.0.0.1:3000> is a dashboard of the last two minutes,
//! drawn from the same metrics. `PORT` sets another port, and 0 selects a free port.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod chart;
mod dashboard;
mod traffic;

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};
use codex_kv::Cache;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};

use crate::dashboard::{History, INTERVAL};

/// The name of the cache, which its metrics carry as the label `cache`.
const CACHE: &str = "reports";

type Shared = Arc<Mutex<History>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let duration = Matcher::Full("codex.cache.compute.duration".to_owned());
    let metrics = PrometheusBuilder::new()
        // Prometheus can sum buckets over processes, but not quantiles.
        .set_buckets_for_metric(duration, &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0])?
        .install_recorder()?;

    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "memory://".to_owned());
    let cache = Cache::builder(codex_kv::connect(&url).await?)
        .key_prefix("prometheus-example")
        .name(CACHE)
        .build()?;
    traffic::start(&cache);

    let history = Shared::default();
    tokio::spawn(scrape(metrics.clone(), history.clone()));
    let page_history = history.clone();
    let app = Router::new()
        .route("/metrics", get(async move || metrics.render()))
        .route("/dashboard.svg", get(async move || svg(&history)))
        .route("/", get(async move || page(&page_history)));

    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Adds the metrics to the history at each interval, as a Prometheus server does.
async fn scrape(metrics: PrometheusHandle, history: Shared) {
    let mut ticks = interval(INTERVAL);
    // A burst of late ticks would produce rates over almost no time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        lock(&history).add(&metrics.render());
    }
}

fn svg(history: &Shared) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "image/svg+xml")], lock(history).draw())
}

fn page(history: &Shared) -> Html<String> {
    let (seconds, dashboard) = (INTERVAL.as_secs(), lock(history).draw());
    Html(format!(
        "<!doctype html><title>Cache</title><meta http-equiv=\"refresh\" content=\"{seconds}\">\
         {dashboard}<p><a href=\"/metrics\">/metrics</a>"
    ))
}

fn lock(history: &Shared) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}
