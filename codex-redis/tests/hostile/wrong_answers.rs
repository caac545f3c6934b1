//! Answers that are valid RESP but impossible for the command.

use std::time::Duration;

use crate::{
    check::{VERBS, alone, on_two_threads, settings, survives},
    server::{Attack, Server, Then},
};

/// The commands that run scripts.
const SCRIPTED: &str = "EVAL EVALSHA FCALL";

/// Plays answers to a command. Each answer must make these verbs fail.
fn play(answers: &[(&'static str, &[u8], &[&str])]) {
    let _alone = alone();
    let server = Server::start();
    on_two_threads(async {
        let backend = settings(&server).build().await.unwrap();
        for (to, answer, verbs) in answers {
            let attack = Attack {
                to: Some(to),
                first: answer.to_vec(),
                then: Then::Again,
                map: None,
            };
            let name = format!(
                "{to} answered {:?}",
                String::from_utf8_lossy(&answer[..answer.len().min(60)])
            );
            survives(&server, &backend, verbs, attack, &name).await;
        }
    });
}

/// Returns all verbs except these.
fn all_but(excepted: &[&str]) -> Vec<&'static str> {
    VERBS.into_iter().filter(|verb| !excepted.contains(verb)).collect()
}

#[test]
fn of_another_type() {
    let all: &[&str] = &VERBS;
    let wrong: [(&[u8], &[&str]); 12] = [
        (b"*0\r\n", all),
        (b"*3\r\n:1\r\n:2\r\n:3\r\n", all),
        (b"%1\r\n+hunter2\r\n+hunter2\r\n", all),
        (b"*1\r\n*1\r\n$7\r\nhunter2\r\n", all),
        (b"+hunter2\r\n", all),
        (b"$7\r\nhunter2\r\n", &all_but(&["get"])),
        (b":-7\r\n", &all_but(&["ttl", "incr", "incr_ending", "incr_there"])),
        (b":7\r\n", &all_but(&["ttl", "incr", "incr_ending", "incr_there"])),
        (b"$-1\r\n", &all_but(&["get", "set_nx", "set_if", "incr_there"])),
        (
            // In RESP2 a boolean is a number.
            b"#t\r\n",
            &["get", "get_many", "scan", "set", "set_many"],
        ),
        (
            b",1.5\r\n",
            &[
                "get_many", "ttl", "scan", "set", "set_many", "del", "expire", "persist", "incr",
            ],
        ),
        (b"+OK\r\n", &all_but(&["get", "set", "set_nx", "set_if", "set_many"])),
    ];
    let everything = "GET MGET PTTL SCAN SET MSET UNLINK DEL EXISTS PERSIST PEXPIRE INCRBY EVAL EVALSHA FCALL EXEC";
    let answers: Vec<_> = wrong
        .iter()
        .map(|(answer, verbs)| (everything, *answer, *verbs))
        .collect();
    play(&answers);
}

#[test]
fn of_impossible_counts() {
    play(&[
        ("UNLINK", b":2\r\n", &["del"]),
        ("UNLINK", b":9223372036854775807\r\n", &["del"]),
        ("UNLINK", b":-1\r\n", &["del"]),
        ("UNLINK", b":-9223372036854775808\r\n", &["del"]),
        ("UNLINK", b":2\r\n", &["expire_zero"]),
        ("UNLINK", b":-1\r\n", &["expire_zero"]),
        ("EXISTS", b":2\r\n", &["expire_keep"]),
        ("EXISTS", b":-1\r\n", &["expire_keep"]),
        ("EXISTS", b":9223372036854775807\r\n", &["expire_keep"]),
        ("PEXPIRE", b":9223372036854775807\r\n", &["expire"]),
        ("EXEC", b"*2\r\n$1\r\nv\r\n:-2\r\n", &["get_with_ttl"]),
        ("EXEC", b"*2\r\n$1\r\nv\r\n:-9223372036854775808\r\n", &["get_with_ttl"]),
        ("EXEC", b"*2\r\n$-1\r\n:5\r\n", &["get_with_ttl"]),
        ("EXEC", b"*1\r\n$-1\r\n", &["get_with_ttl"]),
        ("EXEC", b"*-1\r\n", &["get_with_ttl"]),
        ("PEXPIRE", b":2\r\n", &["expire"]),
        ("PEXPIRE", b":-1\r\n", &["expire"]),
        ("PTTL", b":-3\r\n", &["ttl"]),
        ("PTTL", b":-9223372036854775808\r\n", &["ttl"]),
        ("INCRBY", b"$-1\r\n", &["incr"]),
        ("SET", b"$-1\r\n", &["set"]),
        ("SET", b":1\r\n", &["set", "set_nx"]),
        (SCRIPTED, b":9223372036854775807\r\n", &["del_if", "persist"]),
        (SCRIPTED, b":-1\r\n", &["del_if", "persist"]),
        (
            SCRIPTED,
            b"$20\r\n99999999999999999999\r\n",
            &["incr_ending", "incr_there"],
        ),
        (SCRIPTED, b"$2\r\n+1\r\n", &["incr_ending", "incr_there"]),
    ]);
}

#[test]
fn of_impossible_pages() {
    play(&[
        ("SCAN", b"*2\r\n$7\r\nhunter2\r\n*0\r\n", &["scan"]),
        ("SCAN", b"*2\r\n$2\r\n-1\r\n*0\r\n", &["scan"]),
        ("SCAN", b"*2\r\n$20\r\n18446744073709551616\r\n*0\r\n", &["scan"]),
        ("SCAN", b"*2\r\n$2\r\n+5\r\n*0\r\n", &["scan", "del_matching"]),
        ("SCAN", b"*2\r\n:5\r\n*0\r\n", &["scan", "del_matching"]),
        // The same cursor for ever.
        ("SCAN", b"*2\r\n$1\r\n5\r\n*0\r\n", &["del_matching"]),
        ("SCAN", b"*2\r\n$1\r\n5\r\n*1\r\n$1\r\nk\r\n", &["del_matching"]),
        ("SCAN", b"*2\r\n$1\r\n0\r\n$7\r\nhunter2\r\n", &["scan"]),
        ("SCAN", b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", &["scan"]),
        ("SCAN", b"*1\r\n$1\r\n0\r\n", &["scan"]),
        ("SCAN", b"*3\r\n$1\r\n0\r\n*0\r\n*0\r\n", &["scan"]),
        ("MGET", b"*1\r\n$7\r\nhunter2\r\n", &["get_many"]),
        ("MGET", b"*3\r\n$-1\r\n$-1\r\n$-1\r\n", &["get_many"]),
        ("MGET", b"*2\r\n:1\r\n:2\r\n", &["get_many"]),
        ("MGET", b"*2\r\n*0\r\n*0\r\n", &["get_many"]),
    ]);
}

#[test]
fn one_more_than_was_asked_for() {
    let _alone = alone();
    let server = Server::start();
    on_two_threads(async {
        let backend = settings(&server).build().await.unwrap();
        server.attack(Attack {
            to: Some("GET"),
            first: b"$3\r\none\r\n$7\r\nhunter2\r\n".to_vec(),
            then: Then::Again,
            map: None,
        });
        // The first reply is the call's own. Later replies must never be another call's.
        for _ in 0..50 {
            use codex_traits::KvBackend;
            if let Ok(value) = backend.get("k").await {
                assert_eq!(value.as_deref(), Some(&b"one"[..]), "a reply was given to another call");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.behave();
    });
}
