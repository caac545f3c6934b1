//! A hostile server, scenario by scenario: every call ends in an error within its deadline, memory
//! is bounded, and the handle works when the server behaves again.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod check;
mod cluster;
mod sentinel;
mod server;
mod wrong_answers;

use std::time::Duration;

use check::{SECRET, alone, endures, on_two_threads, settings};
use codex_redis::RespVersion;
use codex_traits::Error;
use server::{Attack, Server, Then};

/// A scenario for every command after the login.
type Scenario = (&'static str, Vec<u8>, Then);

const READ_AND_WRITE: [&str; 3] = ["get", "set", "scan"];

/// Plays each scenario against a handle that speaks RESP2 and a handle that speaks RESP3. Every
/// call must end in an error.
fn play(scenarios: &[Scenario]) {
    for (name, answers) in played(scenarios) {
        for (verb, answer) in answers {
            assert!(answer.is_err(), "{verb} under {name}: no error");
        }
    }
}

/// The outcomes of the calls under each scenario.
type Ends = Vec<(&'static str, Result<(), Error>)>;

fn played(scenarios: &[Scenario]) -> Vec<(String, Ends)> {
    let _alone = alone();
    let server = Server::start();
    on_two_threads(async {
        let mut ends = Vec::new();
        for version in [RespVersion::Resp2, RespVersion::Resp3] {
            let backend = settings(&server).resp(version).build().await.unwrap();
            for (name, first, then) in scenarios {
                let attack = Attack {
                    to: None,
                    first: first.clone(),
                    then: then.clone(),
                    map: None,
                };
                let name = format!("{name}, {version:?}");
                let answers = endures(&server, &backend, &READ_AND_WRITE, attack, &name).await;
                ends.push((name, answers));
            }
        }
        ends
    })
}

fn flood(bytes: &[u8]) -> Then {
    Then::Flood(bytes.to_vec())
}

#[test]
fn lengths() {
    let again = |name, first: &[u8]| (name, first.to_vec(), Then::Silence);
    play(&[
        (
            "a string of 20 GB, which comes",
            b"$20000000000\r\n".to_vec(),
            flood(&[b'x'; 64]),
        ),
        again("a string of 20 GB, which does not come", b"$20000000000\r\n"),
        again("a string of i64::MAX", b"$9223372036854775807\r\n"),
        again("a string of u64::MAX", b"$18446744073709551615\r\n"),
        again("a string of -2", b"$-2\r\n"),
        again("a length with a sign", b"$+5\r\nhello\r\n"),
        again("a length in hexadecimal", b"$0x5\r\nhello\r\n"),
        again("a length of no digits", b"$\r\n"),
        ("a length of endless digits", b"$".to_vec(), flood(b"1")),
        again("a string with another end", b"$5\r\nhelloXX"),
        (
            "an array of a billion, which comes",
            b"*1000000000\r\n".to_vec(),
            flood(b":1\r\n"),
        ),
        (
            "an array of a billion empty strings",
            b"*1000000000\r\n".to_vec(),
            flood(b"$0\r\n\r\n"),
        ),
        (
            "an array of a billion empty arrays",
            b"*1000000000\r\n".to_vec(),
            flood(b"*0\r\n"),
        ),
        (
            "an array of a billion nils",
            b"*1000000000\r\n".to_vec(),
            flood(b"$-1\r\n"),
        ),
        (
            "an array of a billion errors",
            b"*1000000000\r\n".to_vec(),
            flood(b"-ERR hunter2\r\n"),
        ),
        again("an array of i64::MAX", b"*9223372036854775807\r\n:1\r\n"),
        again("an array of -2", b"*-2\r\n"),
        ("a map of a billion", b"%1000000000\r\n".to_vec(), flood(b":1\r\n")),
        again("a map whose items overflow", b"%9223372036854775807\r\n:1\r\n"),
        ("a set of a billion", b"~1000000000\r\n".to_vec(), flood(b":1\r\n")),
        ("a push of a billion", b">1000000000\r\n".to_vec(), flood(b":1\r\n")),
        (
            "an attribute of a billion",
            b"|1000000000\r\n".to_vec(),
            flood(b":1\r\n"),
        ),
        again("a number beyond i64", b":9223372036854775808\r\n"),
        again("a number of no digits", b":\r\n"),
        again("a number that is only a sign", b":-\r\n"),
        ("a number without end", b":".to_vec(), flood(b"1")),
        ("a line without end", b"+".to_vec(), flood(b"a")),
        ("an error without end", b"-".to_vec(), flood(b"a")),
        again("a verbatim string too short for its format", b"=3\r\nabc\r\n"),
        (
            "a verbatim string of 20 GB",
            b"=20000000000\r\ntxt:".to_vec(),
            flood(&[b'x'; 64]),
        ),
        (
            "a bulk error of 20 GB",
            b"!20000000000\r\n".to_vec(),
            flood(&[b'x'; 64]),
        ),
        ("a big number without end", b"(".to_vec(), flood(b"1")),
    ]);
}

#[test]
fn nesting() {
    play(&[
        ("arrays in arrays without end", Vec::new(), flood(b"*1\r\n")),
        (
            "arrays of two in arrays without end",
            Vec::new(),
            flood(b"*2\r\n:1\r\n"),
        ),
        ("maps in maps without end", Vec::new(), flood(b"%1\r\n:1\r\n")),
        ("pushes in pushes without end", Vec::new(), flood(b">1\r\n")),
        ("attributes of attributes without end", Vec::new(), flood(b"|1\r\n")),
        (
            "100,000 levels that end",
            [b"*1\r\n".repeat(100_000), b":1\r\n".to_vec()].concat(),
            Then::Again,
        ),
    ]);
}

#[test]
fn floods() {
    play(&[
        ("empty pushes without end", Vec::new(), flood(b">0\r\n")),
        (
            "pushes without end",
            Vec::new(),
            flood(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$7\r\nhunter2\r\n"),
        ),
        ("empty attributes without end", Vec::new(), flood(b"|0\r\n")),
        ("attributes without end", Vec::new(), flood(b"|1\r\n+a\r\n+b\r\n")),
        ("noise", Vec::new(), flood(b"\x00\xff\x07hunter2")),
        ("empty lines", Vec::new(), flood(b"\r\n")),
        ("zero bytes", Vec::new(), flood(b"\0")),
        (
            "nil arrays inside an array",
            b"*1000000000\r\n".to_vec(),
            flood(b"*-1\r\n"),
        ),
    ]);
}

#[test]
fn drips() {
    let interval = Duration::from_millis(5);
    let drip = |bytes: &[u8]| Then::Drip(bytes.to_vec(), interval);
    play(&[
        ("a string, byte by byte", b"$100000\r\n".to_vec(), drip(b"x")),
        ("an array, byte by byte", b"*100000\r\n".to_vec(), drip(b":1\r\n")),
        ("pushes, byte by byte", Vec::new(), drip(b">0\r\n")),
        ("a line, byte by byte", b"+".to_vec(), drip(b"a")),
        ("a header, byte by byte", b"$".to_vec(), drip(b"0")),
    ]);
}

#[test]
fn halves_and_silence() {
    let mut scenarios = vec![
        ("silence", Vec::new(), Then::Silence),
        ("a frozen server", Vec::new(), Then::Freeze),
        ("a close", Vec::new(), Then::Close),
        ("a reset", Vec::new(), Then::Reset),
    ];
    let halves: [&[u8]; 9] = [
        b"$",
        b"$10",
        b"$10\r",
        b"$10\r\nhunter2",
        b"$7\r\nhunter2\r",
        b"*2\r\n:1\r\n",
        b"+hunter2",
        b"-ERR hunter2",
        b"%1\r\n+hunter2\r\n",
    ];
    for half in halves {
        scenarios.push(("half a reply, then the end", half.to_vec(), Then::Close));
        scenarios.push(("half a reply, then a reset", half.to_vec(), Then::Reset));
    }
    scenarios.push(("half a reply, then silence", b"$10\r\nhunter2".to_vec(), Then::Silence));
    play(&scenarios);
}

#[test]
fn other_protocols() {
    let say = |name, bytes: &[u8]| (name, bytes.to_vec(), Then::Again);
    play(&[
        say("HTTP", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nhunter2"),
        say("a TLS alert", &[21, 3, 3, 0, 2, 2, 70]),
        say("SMTP", b"220 hunter2 ESMTP\r\n"),
        say("memcached", b"ERROR\r\n"),
        say("a type that does not exist", b"?hunter2\r\n"),
        say("a boolean of another letter", b"#x\r\n"),
        say("a null with content", b"_hunter2\r\n"),
        say("a double that is none", b",hunter2\r\n"),
        say("a big number that is none", b"(hunter2\r\n"),
        say("an end of line without its beginning", b"+OK\n+OK\n"),
    ]);
}

#[test]
fn surplus() {
    // The first reply can be the call's own. The later replies belong to no call.
    let ends = played(&[
        ("replies without end", Vec::new(), flood(b"+hunter2\r\n")),
        ("numbers without end", Vec::new(), flood(b":1000000\r\n")),
        ("nils without end", Vec::new(), flood(b"$-1\r\n")),
        ("errors without end", Vec::new(), flood(b"-ERR hunter2\r\n")),
        ("values without end", Vec::new(), flood(b"$7\r\nhunter2\r\n")),
    ]);
    for (name, answers) in ends {
        let failed = answers.iter().any(|(_, answer)| answer.is_err());
        assert!(failed, "{name}: every call was answered");
    }
}

#[test]
fn errors() {
    let say = |name, bytes: Vec<u8>| (name, bytes, Then::Again);
    play(&[
        say("an error without a text", b"-\r\n".to_vec()),
        say("an error that is a space", b"- \r\n".to_vec()),
        say("an error that is the value", format!("-{SECRET}\r\n").into_bytes()),
        say(
            "an error that quotes the value",
            format!("-ERR {SECRET} {SECRET}\r\n").into_bytes(),
        ),
        say(
            "an error that begins with a known code",
            format!("-READONLY {SECRET}\r\n").into_bytes(),
        ),
        say("an error in colour", b"-\x1b[31mERR\x1b[0m hunter2\r\n".to_vec()),
        say("an error that is no UTF-8", b"-ERR \xff\xfe hunter2\r\n".to_vec()),
        say("an error with a null byte", b"-ER\0R hunter2\r\n".to_vec()),
        say(
            "an error of 60 KB",
            [b"-ERR ".to_vec(), b"hunter2 ".repeat(7500), b"\r\n".to_vec()].concat(),
        ),
        say(
            "an error of 10 MB",
            [b"-ERR ".to_vec(), b"x".repeat(10 << 20), b"\r\n".to_vec()].concat(),
        ),
        say("a bulk error", b"!11\r\nERR hunter2\r\n".to_vec()),
        say("a redirection on a single server", b"-MOVED 1 127.0.0.1:1\r\n".to_vec()),
        say("NOSCRIPT for ever", b"-NOSCRIPT hunter2\r\n".to_vec()),
        say("LOADING for ever", b"-LOADING hunter2\r\n".to_vec()),
        say("a broken transaction for ever", b"-EXECABORT hunter2\r\n".to_vec()),
    ]);
}
