//! The dashboard: rates and ratios computed from recent scrapes.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    CACHE,
    chart::{self, Chart, Line},
};

/// The time between two scrapes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);
const SCRAPES: usize = 61;

/// The most recent scrapes, oldest first.
#[derive(Default)]
pub(crate) struct History(VecDeque<Scrape>);

struct Scrape {
    time: Instant,
    /// Values by name and labels of the series.
    values: HashMap<String, f64>,
}

impl History {
    /// Adds a scrape in the text format of Prometheus.
    pub(crate) fn add(&mut self, text: &str) {
        if self.0.len() == SCRAPES {
            self.0.pop_front();
        }
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        self.0.push_back(Scrape {
            time: Instant::now(),
            values: samples.collect(),
        });
    }

    /// Draws the dashboard as an SVG.
    pub(crate) fn draw(&self) -> String {
        let (hits, stale, misses) = (self.reads("hit"), self.reads("stale"), self.reads("miss"));
        let found = add(&hits, &stale);
        let hit_rate = divide(&found, &add(&found, &misses), 100.0);
        let computations = self.rate_of("codex_cache_computations");
        let seconds = self.rate_of("codex_cache_compute_duration_sum");
        let mean = divide(&seconds, &computations, 1_000.0);
        let charts = [
            Chart {
                title: "Reads per second",
                unit: "",
                lines: vec![
                    Line::new("hit", hits),
                    Line::new("stale", stale),
                    Line::new("miss", misses),
                ],
            },
            Chart {
                title: "Hit rate, including stale hits",
                unit: " %",
                lines: vec![Line::new("hit rate", hit_rate)],
            },
            Chart {
                title: "Computations and coalesced callers per second",
                unit: "",
                lines: vec![
                    Line::new("computations", computations),
                    Line::new("coalesced callers", self.rate_of("codex_cache_coalesced")),
                ],
            },
            Chart {
                title: "Mean duration of a computation",
                unit: " ms",
                lines: vec![Line::new("mean", mean)],
            },
        ];
        chart::page(&charts, self.span())
    }

    /// Returns the time that the rates cover.
    fn span(&self) -> Duration {
        match (self.0.get(1), self.0.back()) {
            (Some(first), Some(last)) => last.time - first.time,
            _ => Duration::ZERO,
        }
    }

    fn reads(&self, result: &str) -> Vec<f64> {
        self.rate(&format!("codex_cache_reads{{cache=\"{CACHE}\",result=\"{result}\"}}"))
    }

    fn rate_of(&self, metric: &str) -> Vec<f64> {
        self.rate(&format!("{metric}{{cache=\"{CACHE}\"}}"))
    }

    /// Returns the growth of a counter per second, from each scrape to the next.
    fn rate(&self, series: &str) -> Vec<f64> {
        let value = |scrape: &Scrape| scrape.values.get(series).copied().unwrap_or(0.0);
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        pairs
            .map(|(old, new)| (value(new) - value(old)) / (new.time - old.time).as_secs_f64())
            .collect()
    }
}

fn add(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(x, y)| x + y).collect()
}

/// Returns `part / whole * factor` for each pair, which is NaN if both are zero.
fn divide(parts: &[f64], wholes: &[f64], factor: f64) -> Vec<f64> {
    let pairs = parts.iter().zip(wholes);
    pairs.map(|(part, whole)| part / whole * factor).collect()
}
