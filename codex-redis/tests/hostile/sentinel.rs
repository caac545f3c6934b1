//! Sentinels with invalid answers.

use std::time::Duration;

use crate::{
    check::{SECRET, alone, call, on_two_threads, settings, works},
    server::{Attack, Server, Then},
};

#[test]
fn sentinels_that_make_no_sense() {
    let _alone = alone();
    let server = Server::start();
    let own = server.address().port().to_string();
    let place = |host: &str, port: &str| {
        format!("*2\r\n${}\r\n{host}\r\n${}\r\n{port}\r\n", host.len(), port.len()).into_bytes()
    };
    let mut answers: Vec<Vec<u8>> = [
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n$7\r\nhunter2\r\n",
        "*3\r\n+a\r\n+b\r\n+c\r\n",
        "$7\r\nhunter2\r\n",
        ":7\r\n",
        "-ERR hunter2\r\n",
        "-IDONTKNOW hunter2\r\n",
        "-NOPERM hunter2\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "%1\r\n+hunter2\r\n+hunter2\r\n",
    ]
    .map(|answer| answer.as_bytes().to_vec())
    .into();
    answers.extend([
        place("127.0.0.1", "0"),
        place("127.0.0.1", "-1"),
        place("127.0.0.1", "70000"),
        place("127.0.0.1", "hunter2"),
        place("", &own),
        place("host.invalid", &own),
        place("127.0.0.1", "1"),
        // A valid address. The second question has the same answer, which is not a list of names
        // and values.
        place("127.0.0.1", &own),
        b"*1000000000\r\n".to_vec(),
    ]);
    on_two_threads(async {
        let on = || settings(&server).sentinel("main", [("127.0.0.1", server.address().port())]);
        for answer in answers {
            let name = String::from_utf8_lossy(&answer).into_owned();
            server.attack(Attack {
                to: Some("SENTINEL"),
                first: answer,
                then: Then::Again,
                map: None,
            });
            let built = tokio::time::timeout(Duration::from_secs(3), on().build()).await;
            let error = built.unwrap_or_else(|_| panic!("{name}: no end")).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(SECRET), "{name}: {error:?}");
            let lazy = on().build_lazy().unwrap();
            let called = tokio::time::timeout(Duration::from_secs(3), call(&lazy, "get")).await;
            let error = called.unwrap_or_else(|_| panic!("{name}: no end")).unwrap_err();
            assert!(!error.may_have_executed(), "{name}: {error:?}");
            server.behave();
            works(&name, async || call(&lazy, "get").await).await;
        }
    });
}
