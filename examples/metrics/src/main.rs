//! A service whose cache is seen by Prometheus.
//!
//! `GET /article/{id}` answers an article, which takes 50 ms to compute and is cached; `GET
//! /metrics` is what Prometheus scrapes. `ADDRESS` (127.0.0.1:3000) and `STORE_URL` (memory://) can
//! be set.
//!
//! ```sh
//! cargo run -p codex-metrics-example
//! curl http://127.0.0.1:3000/article/1 http://127.0.0.1:3000/metrics
//! ```

#![allow(clippy::print_stdout, reason = "a program says where it listens")]

use std::{env, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use codex_kv::{AnyBackend, Cache, CacheError, Loader};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::{net::TcpListener, time::sleep};

/// The interval at which the exporter tidies its histograms up.
const UPKEEP: Duration = Duration::from_secs(5);

type Articles = Loader<String, CacheError, AnyBackend>;

async fn article(State(articles): State<Articles>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let article = articles.get(&format!("article:{id}")).await;
    article
        .map(|loaded| loaded.value)
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn compute(key: String) -> Result<String, CacheError> {
    sleep(Duration::from_millis(50)).await;
    Ok(format!("the text of {key}\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let url = env::var("STORE_URL").unwrap_or_else(|_| "memory://".to_owned());

    // The recorder first: a cache tells whichever one is installed.
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("codex.cache.compute.duration".to_owned()),
            &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0],
        )?
        .install_recorder()?;
    let upkeep = prometheus.clone();
    tokio::spawn(async move {
        loop {
            sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });

    let cache = Cache::builder(codex_kv::connect(&url).await?)
        .key_prefix("metrics-example")
        .name("articles")
        .build()?;
    let articles: Articles = cache
        .loader("article")
        .fresh_for(Duration::from_secs(5))
        .stale_for(Duration::from_secs(10))
        .load(compute);
    let app = Router::new()
        .route("/article/{id}", get(article))
        .with_state(articles)
        .route("/metrics", get(move || async move { prometheus.render() }));
    let listener = TcpListener::bind(&address).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
