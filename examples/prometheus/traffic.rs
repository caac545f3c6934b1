//! Simulated traffic: visitors who read reports, and reports that change.

use std::{convert::Infallible, time::Duration};

use codex_kv::{AnyBackend, Cache, Loader};
use tokio::time::sleep;

use crate::CACHE;

const VISITORS: u64 = 24;
const REPORTS: u64 = 300;

type Reports = Loader<String, Infallible, AnyBackend>;

/// Starts the traffic, which runs until the program ends.
pub(crate) fn start(cache: &Cache<AnyBackend>) {
    let reports = cache
        .loader(CACHE)
        .fresh_for(Duration::from_secs(4))
        .stale_for(Duration::from_secs(6))
        .load(compute);
    for visitor in 1..=VISITORS {
        tokio::spawn(visit(reports.clone(), visitor));
    }
    tokio::spawn(change(cache.clone()));
}

/// Computes a report in 20 ms to 79 ms, depending on its name.
async fn compute(report: String) -> Result<String, Infallible> {
    let slowness = report.bytes().map(u64::from).sum::<u64>() % 60;
    sleep(Duration::from_millis(20 + slowness)).await;
    Ok(format!("the text of {report}"))
}

async fn visit(reports: Reports, visitor: u64) {
    let mut random = visitor;
    loop {
        // A linear congruential generator (Knuth, MMIX). Its high bits are the most random.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (choice, pause) = (random >> 48, random >> 32 & 15);
        // Squaring favours reports with low numbers, so some are far more popular.
        let report = choice * choice / 65_536 * REPORTS / 65_536;
        if reports.get(&format!("report:{report}")).await.is_err() {
            // The backend is not available. The cache counts the error.
            sleep(Duration::from_secs(1)).await;
        }
        sleep(Duration::from_millis(5 + pause)).await;
    }
}

/// Clears the cache every 30 s, so that all reports are computed again.
async fn change(cache: Cache<AnyBackend>) {
    loop {
        sleep(Duration::from_secs(30)).await;
        // The cache counts the error, and the next round tries again.
        let _ = cache.clear().await;
    }
}
