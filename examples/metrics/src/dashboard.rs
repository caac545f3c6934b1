//! Draws a dashboard of the service in `main.rs` while it runs.
//!
//! It asks for articles like visitors do, scrapes `/metrics` once a second, and draws what it
//! scraped. The visitors change: at first few of them ask for few articles, then more of them for
//! more, and in the last part for a few again.
//!
//! ```sh
//! cargo run --release -p codex-metrics-example &
//! cargo run --release -p codex-metrics-example --bin dashboard 127.0.0.1:3000 docs/images/cache-dashboard.svg
//! ```

#![allow(clippy::print_stdout, reason = "a program says what it has drawn")]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use plotters::prelude::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SECONDS: u32 = 90;

/// Seconds, requests a second, and the number of different articles.
const PHASES: [(u32, u64, u32); 3] = [(30, 40, 20), (30, 200, 400), (30, 40, 20)];

/// One scrape: the counters that are drawn.
#[derive(Debug, Clone, Copy, Default)]
struct Scrape {
    hit: f64,
    stale: f64,
    miss: f64,
    computations: f64,
    coalesced: f64,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: dashboard ADDRESS FILE.svg".into());
    };
    let visitors = tokio::spawn(visit(address.clone()));
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let mut scrapes = Vec::new();
    for _ in 0..=SECONDS {
        ticks.tick().await;
        let text = ask(&address, "/metrics").await?;
        scrapes.push((started.elapsed().as_secs_f64(), parse(&text)));
    }
    let failed = visitors.await??;
    draw(&file, &scrapes)?;
    let (_, last) = scrapes[scrapes.len() - 1];
    println!("{last:?}, {failed} requests failed");
    Ok(())
}

/// Asks for articles, and returns how many requests failed.
async fn visit(address: String) -> Outcome<u64> {
    let failed = Arc::new(AtomicU64::new(0));
    let next = AtomicU32::new(0);
    for (seconds, per_second, articles) in PHASES {
        let end = Instant::now() + Duration::from_secs(seconds.into());
        while Instant::now() < end {
            // Spread over the articles as a sequence of no order: the step has no common divisor.
            let id = next.fetch_add(7_919, Ordering::Relaxed) % articles;
            let (address, failed) = (address.clone(), Arc::clone(&failed));
            tokio::spawn(async move {
                if ask(&address, &format!("/article/{id}")).await.is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            });
            sleep(Duration::from_micros(1_000_000 / per_second)).await;
        }
    }
    Ok(failed.load(Ordering::Relaxed))
}

async fn ask(address: &str, path: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    match response.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(format!("{path} did not answer 200").into()),
    }
}

fn parse(text: &str) -> Scrape {
    let samples: BTreeMap<&str, f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    // A counter that was never counted is not there.
    let of = |name: &str| samples.get(name).copied().unwrap_or(0.0);
    let read = |result: &str| of(&format!("codex_cache_reads{{cache=\"articles\",result=\"{result}\"}}"));
    Scrape {
        hit: read("hit"),
        stale: read("stale"),
        miss: read("miss"),
        computations: of("codex_cache_computations{cache=\"articles\"}"),
        coalesced: of("codex_cache_coalesced{cache=\"articles\"}"),
    }
}

/// Points of a line, and its colour and name.
struct Line {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Returns what Prometheus calls `rate(…[5s])`.
fn rate(scrapes: &[(f64, Scrape)], name: &'static str, color: RGBColor, counter: impl Fn(&Scrape) -> f64) -> Line {
    let pairs = scrapes.iter().zip(scrapes.iter().skip(5));
    let points = pairs
        .map(|((earlier, before), (later, after))| (*later, (counter(after) - counter(before)) / (later - earlier)))
        .collect();
    Line { name, color, points }
}

fn draw(file: &str, scrapes: &[(f64, Scrape)]) -> Outcome<()> {
    const GREEN_LINE: RGBColor = RGBColor(31, 136, 61);
    const ORANGE: RGBColor = RGBColor(191, 101, 0);
    const RED_LINE: RGBColor = RGBColor(207, 34, 46);
    const BLUE_LINE: RGBColor = RGBColor(9, 105, 218);
    let reads = |scrape: &Scrape| scrape.hit + scrape.stale + scrape.miss;
    let answered = rate(scrapes, "answered", GREEN_LINE, |scrape| scrape.hit + scrape.stale);
    let all = rate(scrapes, "all", GREEN_LINE, reads);
    let hit_rate = Line {
        name: "hits and stale hits, of all reads",
        color: GREEN_LINE,
        points: answered
            .points
            .iter()
            .zip(&all.points)
            .filter(|(_, (_, all))| *all > 0.0)
            .map(|((at, answered), (_, all))| (*at, answered / all * 100.0))
            .collect(),
    };
    let root = SVGBackend::new(file, (960, 720)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((3, 1));
    panel(
        &panels[0],
        "codex_cache_reads, per second",
        &[
            rate(scrapes, "hit", GREEN_LINE, |scrape| scrape.hit),
            rate(scrapes, "stale", ORANGE, |scrape| scrape.stale),
            rate(scrapes, "miss", RED_LINE, |scrape| scrape.miss),
        ],
    )?;
    panel(&panels[1], "Reads answered from the cache, percent", &[hit_rate])?;
    panel(
        &panels[2],
        "codex_cache_computations and codex_cache_coalesced, per second",
        &[
            rate(scrapes, "computations", BLUE_LINE, |scrape| scrape.computations),
            rate(scrapes, "coalesced", RED_LINE, |scrape| scrape.coalesced),
        ],
    )?;
    root.present()?;
    Ok(())
}

fn panel<DB: DrawingBackend>(area: &DrawingArea<DB, plotters::coord::Shift>, title: &str, lines: &[Line]) -> Outcome<()>
where
    DB::ErrorType: 'static,
{
    let values = lines.iter().flat_map(|line| &line.points);
    let highest = values.fold(1.0_f64, |highest, (_, value)| highest.max(*value)) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..f64::from(SECONDS), 0.0..highest)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .x_labels(10)
        .y_labels(5)
        .x_desc("seconds")
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(|error| error.to_string())?;
    for line in lines {
        let color = line.color;
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))
            .map_err(|error| error.to_string())?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(|error| error.to_string())?;
    Ok(())
}
