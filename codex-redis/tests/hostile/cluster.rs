//! Endless redirections, and invalid slot maps.

use std::time::Duration;

use codex_redis::{RedisBackend, RedisBuilder};
use codex_traits::ErrorKind;

use crate::{
    check::{DEADLINE, SECRET, alone, call, on_two_threads, resident, settings, survives, works},
    server::{Attack, Server, Then, slots},
};

const VERBS: [&str; 4] = ["get", "set", "get_many", "del"];

fn on(server: &Server) -> RedisBuilder {
    let port = server.address().port();
    settings(server).cluster([("127.0.0.1", port)])
}

fn play(scenarios: impl Fn(&Server) -> Vec<(&'static str, Attack)>) {
    let _alone = alone();
    let server = Server::start();
    on_two_threads(async {
        let backend = on(&server).build().await.unwrap();
        for (name, attack) in scenarios(&server) {
            survives(&server, &backend, &VERBS, attack, name).await;
        }
    });
}

fn refusing(answer: impl Into<Vec<u8>>) -> Attack {
    Attack {
        to: None,
        first: answer.into(),
        then: Then::Again,
        map: None,
    }
}

#[test]
fn redirections_without_end() {
    play(|server| {
        let port = server.address().port();
        let varying = |answer| Attack {
            then: Then::Vary(answer),
            ..refusing("")
        };
        vec![
            ("MOVED to itself", refusing(format!("-MOVED 1 127.0.0.1:{port}\r\n"))),
            ("ASK to itself", refusing(format!("-ASK 1 127.0.0.1:{port}\r\n"))),
            ("MOVED to nobody", refusing("-MOVED 1 127.0.0.1:1\r\n")),
            ("ASK to nobody", refusing("-ASK 1 127.0.0.1:1\r\n")),
            (
                "MOVED to another each time",
                varying(|number| {
                    format!("-MOVED 1 127.0.{}.{}:1\r\n", number / 200 % 200, number % 200 + 1).into_bytes()
                }),
            ),
            (
                "ASK to another each time",
                varying(|number| {
                    format!("-ASK 1 127.0.{}.{}:1\r\n", number / 200 % 200, number % 200 + 1).into_bytes()
                }),
            ),
            ("TRYAGAIN for ever", refusing("-TRYAGAIN hunter2\r\n")),
            ("CLUSTERDOWN for ever", refusing("-CLUSTERDOWN hunter2\r\n")),
            ("LOADING for ever", refusing("-LOADING hunter2\r\n")),
        ]
    });
}

#[test]
fn redirections_that_make_no_sense() {
    play(|_| {
        [
            "-MOVED\r\n",
            "-MOVED 1\r\n",
            "-MOVED 1 hunter2\r\n",
            "-MOVED 1 hunter2:1:2\r\n",
            "-MOVED x 127.0.0.1:1\r\n",
            "-MOVED -1 127.0.0.1:1\r\n",
            "-MOVED 99999 127.0.0.1:1\r\n",
            "-MOVED 1 127.0.0.1:0\r\n",
            "-MOVED 1 127.0.0.1:99999\r\n",
            "-MOVED 1 :1\r\n",
            "-MOVED 1 [::1:1\r\n",
            "-ASK\r\n",
            "-ASK 1 hunter2\r\n",
            "-ASK 1 127.0.0.1:0\r\n",
            "-ASK 1 /hunter2\r\n",
        ]
        .map(|answer| (answer, refusing(answer)))
        .into()
    });
}

/// Answers to CLUSTER SLOTS from which no handle can make a usable map.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let node = "*3\r\n$9\r\n127.0.0.1\r\n:1\r\n$2\r\nid\r\n";
    let range = |first: &str, last: &str, node: &str| format!("*1\r\n*3\r\n{first}\r\n{last}\r\n{node}").into_bytes();
    vec![
        ("no ranges", b"*0\r\n".to_vec()),
        ("nil", b"*-1\r\n".to_vec()),
        ("a text", b"$7\r\nhunter2\r\n".to_vec()),
        ("a number", b":1\r\n".to_vec()),
        ("numbers", b"*2\r\n:1\r\n:2\r\n".to_vec()),
        ("a range of nothing", b"*1\r\n*0\r\n".to_vec()),
        ("a range without nodes", b"*1\r\n*2\r\n:0\r\n:16383\r\n".to_vec()),
        ("a range that ends before it begins", range(":9", ":3", node)),
        ("a slot below 0", range(":-1", ":3", node)),
        ("a slot beyond the last", range(":0", ":16384", node)),
        ("a slot of i64::MAX", range(":0", ":9223372036854775807", node)),
        ("slots that are texts", range("$1\r\n0", "$7\r\nhunter2", node)),
        ("a node of nothing", range(":0", ":16383", "*0\r\n")),
        ("a node that is a text", range(":0", ":16383", "$7\r\nhunter2\r\n")),
        (
            "port 0",
            range(":0", ":16383", "*3\r\n$9\r\n127.0.0.1\r\n:0\r\n$2\r\nid\r\n"),
        ),
        (
            "port -1",
            range(":0", ":16383", "*3\r\n$9\r\n127.0.0.1\r\n:-1\r\n$2\r\nid\r\n"),
        ),
        (
            "port 70000",
            range(":0", ":16383", "*3\r\n$9\r\n127.0.0.1\r\n:70000\r\n$2\r\nid\r\n"),
        ),
        (
            "an id that is a number",
            range(":0", ":16383", "*3\r\n$9\r\n127.0.0.1\r\n:1\r\n:7\r\n"),
        ),
        ("a node that is down", range(":0", ":16383", node)),
        ("a million ranges", {
            let mut answer = b"*1000000\r\n".to_vec();
            answer.extend(b"*0\r\n".repeat(1_000_000));
            answer
        }),
        ("a range with 100,000 replicas", {
            let mut answer = b"*1\r\n*100003\r\n:0\r\n:16383\r\n".to_vec();
            answer.extend(node.as_bytes().repeat(100_001));
            answer
        }),
        ("an error", b"-ERR hunter2\r\n".to_vec()),
        ("half a map", b"*1\r\n*3\r\n:0\r\n".to_vec()),
        ("arrays in arrays", b"*1\r\n".repeat(1000)),
    ]
}

#[test]
fn maps_that_make_no_sense_while_slots_move() {
    play(|_| {
        let with_map = |(name, map)| {
            let attack = Attack {
                map: Some(map),
                ..refusing("-CLUSTERDOWN hunter2\r\n")
            };
            (name, attack)
        };
        nonsense().into_iter().map(with_map).collect()
    });
}

#[test]
fn maps_that_make_no_sense_at_the_start() {
    let _alone = alone();
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for (name, map) in nonsense() {
            server.attack(Attack {
                map: Some(map),
                ..refusing("-CLUSTERDOWN hunter2\r\n")
            });
            let built = tokio::time::timeout(Duration::from_secs(3), on(&server).build()).await;
            let built = built.unwrap_or_else(|_| panic!("{name}: no end"));
            let error = match built {
                Ok(backend) => call(&backend, "get").await.unwrap_err(),
                Err(error) => error,
            };
            assert!(!format!("{error} {error:?}").contains(SECRET), "{name}: {error:?}");
            assert_ne!(error.kind(), ErrorKind::InvalidArgument, "{name}: {error:?}");
            server.behave();
            let backend = on(&server).build().await.unwrap();
            call(&backend, "set").await.unwrap();
        }
    });
}

#[test]
fn a_map_of_thousands_of_nodes_that_are_not_there_is_left() {
    let _alone = alone();
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let own = server.address().port();
        // As many nodes as fit into the bytes that replies may take.
        let ranges: Vec<_> = (0..2048)
            .map(|node| (node * 8, node * 8 + 7, 1024 + u16::try_from(node).unwrap()))
            .collect();
        server.attack(Attack {
            to: Some("NOTHING"),
            map: Some(slots(&ranges)),
            ..refusing("")
        });
        // The map is valid, but none of its nodes exists.
        let backend: RedisBackend = match on(&server).build().await {
            Ok(backend) => backend,
            Err(error) => panic!("{own}: {error:?}"),
        };
        for verb in VERBS {
            let start = std::time::Instant::now();
            assert!(call(&backend, verb).await.is_err(), "{verb}");
            assert!(start.elapsed() < DEADLINE * 15, "{verb}: {:?}", start.elapsed());
        }
        server.behave();
        let mut working = false;
        for _ in 0..200 {
            working = working || call(&backend, "get").await.is_ok();
        }
        assert!(working, "the handle does not work with a good map");
    });
}

#[test]
fn ten_thousand_redirections_to_other_addresses_take_little_memory() {
    let _alone = alone();
    let server = Server::start();
    on_two_threads(async {
        let backend = on(&server).build().await.unwrap();
        for code in ["ASK", "MOVED"] {
            let redirection: fn(u64) -> Vec<u8> = match code {
                "ASK" => {
                    |number| format!("-ASK 1 127.1.{}.{}:1\r\n", number / 250 % 250, number % 250 + 1).into_bytes()
                }
                _ => |number| format!("-MOVED 1 127.2.{}.{}:1\r\n", number / 250 % 250, number % 250 + 1).into_bytes(),
            };
            server.attack(Attack {
                then: Then::Vary(redirection),
                ..refusing("")
            });
            let calls = async |count: usize| {
                let calls = (0..count).map(|_| call(&backend, "get"));
                for answer in futures_util::future::join_all(calls).await {
                    assert!(answer.is_err());
                }
            };
            calls(1000).await;
            let before = resident();
            for _ in 0..10 {
                calls(1000).await;
            }
            if let (Some(before), Some(after)) = (before, resident()) {
                let grown = after.saturating_sub(before);
                assert!(grown < 12 << 20, "{code}: {} KiB", grown >> 10);
            }
        }
        server.behave();
        works("redirections", async || call(&backend, "get").await).await;
    });
}
