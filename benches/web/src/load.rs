//! Simulated browsers. Each has a connection and its cookies, and sends the next request as soon as
//! the last is answered.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Barrier,
    task::JoinSet,
};

pub struct Server {
    name: String,
    port: u16,
    /// The process whose processor time is reported, if it is known.
    pid: Option<u32>,
}

impl Server {
    /// Reads `NAME=PORT`, or `NAME=PORT=PID`.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('=');
        let mut next = || parts.next().map(str::to_owned);
        Self {
            name: next().expect("a name"),
            port: next().expect("a port").parse().expect("a port"),
            pid: next().map(|pid| pid.parse().expect("a process id")),
        }
    }

    /// Returns the user and system time of the process and its children, in seconds. `/proc` counts
    /// hundredths of a second; see proc(5).
    fn processor_seconds(&self) -> Option<f64> {
        let ticks = |pid: u32| -> Option<f64> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let after_name = stat.rsplit_once(')')?.1;
            let fields: Vec<&str> = after_name.split_whitespace().collect();
            Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
        };
        let pid = self.pid?;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|child| ticks(child.parse().ok()?));
        Some((ticks(pid)? + children.sum::<f64>()) / 100.0)
    }
}

struct Round {
    per_second: f64,
    /// Microseconds of the server's processor time for each request.
    processor: Option<f64>,
    slowest_of_99: f64,
}

pub async fn compare(servers: Vec<Server>, path: &str, connections: usize, seconds: Duration) {
    let rounds = std::env::var("BENCH_ROUNDS").map_or(5, |rounds| rounds.parse().expect("a number"));
    let mut all: Vec<Vec<Round>> = servers.iter().map(|_| Vec::new()).collect();
    for server in &servers {
        ask(server, path, connections, seconds / 4).await;
    }
    for round in 0..rounds {
        for turn in 0..servers.len() {
            // Each round begins with another server.
            let at = (turn + round) % servers.len();
            all[at].push(ask(&servers[at], path, connections, seconds).await);
        }
    }
    println!(
        "| | requests/s | ratio of the first to it, median of rounds (lowest to highest) | processor time of the server a request | 99 % within |"
    );
    println!("|---|---|---|---|---|");
    for (server, of_it) in servers.iter().zip(&all) {
        let mut ratios: Vec<f64> = all[0]
            .iter()
            .zip(of_it)
            .map(|(first, it)| first.per_second / it.per_second)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let middle = |values: Vec<f64>| median(values).unwrap_or(f64::NAN);
        let per_second = middle(of_it.iter().map(|round| round.per_second).collect());
        let slowest = middle(of_it.iter().map(|round| round.slowest_of_99).collect());
        let processor = median(of_it.iter().filter_map(|round| round.processor).collect());
        println!(
            "| {} | {per_second:.0} | {:.2} ({:.2} to {:.2}) | {} | {:.1} ms |",
            server.name,
            middle(ratios.clone()),
            ratios[0],
            ratios[ratios.len() - 1],
            processor.map_or("-".to_owned(), |micros| format!("{micros:.1} µs")),
            slowest * 1e3,
        );
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

async fn ask(server: &Server, path: &str, connections: usize, seconds: Duration) -> Round {
    let logged_in = Arc::new(Barrier::new(connections + 1));
    let mut browsers = JoinSet::new();
    for _ in 0..connections {
        browsers.spawn(browse(server.port, path.to_owned(), logged_in.clone(), seconds));
    }
    logged_in.wait().await;
    let before = server.processor_seconds();
    let started = Instant::now();
    let mut times = Vec::new();
    while let Some(of_one) = browsers.join_next().await {
        times.extend(of_one.expect("a browser ends"));
    }
    let elapsed = started.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let count = times.len() as f64;
    Round {
        per_second: count / elapsed,
        processor: before.and_then(|before| Some((server.processor_seconds()? - before) * 1e6 / count)),
        slowest_of_99: times[times.len() * 99 / 100],
    }
}

/// Requests the page for some time and checks each count, so a server that loses a count or fails
/// is not measured. The time begins when every browser has its session. The first page, which logs
/// in, does not count.
async fn browse(port: u16, path: String, logged_in: Arc<Barrier>, seconds: Duration) -> Vec<f64> {
    let mut times = Vec::new();
    let mut cookies = BTreeMap::new();
    let mut stream: Option<TcpStream> = None;
    let mut buffer = Vec::with_capacity(4096);
    let mut visit = 1_u64;
    let mut asked = Instant::now();
    let mut end = None;
    while end.is_none_or(|end| asked < end) {
        if stream.is_none() {
            let new = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
            new.set_nodelay(true).expect("a socket");
            stream = Some(new);
        }
        let connection = stream.as_mut().expect("it is open");
        let cookie = match &cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()[..]
        {
            [] => String::new(),
            pairs => format!("Cookie: {}\r\n", pairs.join("; ")),
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n");
        buffer.clear();
        // A server may close a connection between two requests, as gunicorn does. The browser then
        // repeats the request on a new connection, and the wait counts.
        if connection.write_all(request.as_bytes()).await.is_err()
            || !matches!(connection.read_buf(&mut buffer).await, Ok(1..))
        {
            stream = None;
            continue;
        }
        let (head, body) = loop {
            let text = std::str::from_utf8(&buffer).expect("text");
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && header(head, "content-length").is_some_and(|length| length.parse() == Ok(body.len()))
            {
                break (head, body);
            }
            assert!(
                connection.read_buf(&mut buffer).await.expect("it answers") > 0,
                "it hung up"
            );
        };
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body.parse(), Ok(visit), "a count is lost");
        // axum_session sets several cookies.
        for set in headers(head, "set-cookie") {
            let pair = set.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            stream = None;
        }
        visit += 1;
        if end.is_none() {
            logged_in.wait().await;
            end = Some(Instant::now() + seconds);
        } else {
            times.push(asked.elapsed().as_secs_f64());
        }
        asked = Instant::now();
    }
    times
}

fn header<'a>(head: &'a str, wanted: &'a str) -> Option<&'a str> {
    headers(head, wanted).next()
}

fn headers<'a>(head: &'a str, wanted: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter_map(move |(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim()))
}
