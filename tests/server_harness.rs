//! Tests of the suite on a server with foreign data: it uses only empty databases, reports an error
//! if there is none, and leaves all other databases alone.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use codex_kv::testkit::{
    ClauseId, Harness, Outcome, Report,
    redis::{RedisServer, ServerHarness, Value},
    require, run_only,
};

/// Clauses that need a store of their own, foreign data, or the memory use of connections.
const CLAUSES: [&str; 4] = ["get-01", "get-06", "scan-09", "scan-08"];

fn clauses() -> impl Iterator<Item = ClauseId> {
    CLAUSES.iter().map(|id| id.parse().unwrap())
}

/// Returns the databases that are not empty, according to the server.
fn keyspace(server: &RedisServer) -> Vec<String> {
    let Value::BulkString(info) = server.command(&["INFO", "keyspace"]).unwrap() else {
        panic!("INFO answers text")
    };
    let info = String::from_utf8(info).unwrap();
    info.lines()
        .filter_map(|line| Some(line.strip_prefix("db")?.split(',').next()?.to_owned()))
        .collect()
}

macro_rules! harness {
    ($url:expr) => {
        ServerHarness::on($url, |url| async move { codex_kv::connect(&url).await })
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_empty_is_used_and_it_is_empty_again_afterwards() {
    let server = require!("redis", RedisServer::start_with(["--databases", "3"]));
    server.command(&["SET", "mine", "1"]).unwrap();
    let url = format!("redis://127.0.0.1:{}", server.port());

    let harness = harness!(&url).unwrap();
    assert!(!harness.is_confined());
    let set_05 = "set-05".parse().unwrap();
    let report = run_only(&harness, clauses().chain([set_05])).await;
    assert!(
        report.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Passed),
        "{report}"
    );
    assert_eq!(keyspace(&server), ["0:keys=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_named_is_the_only_one_used() {
    let server = require!("redis", RedisServer::start_with(["--databases", "3"]));
    let url = format!("redis://127.0.0.1:{}/2", server.port());
    let harness = harness!(&url).unwrap();
    assert!(harness.is_confined());
    let report = run_only(&harness, clauses()).await;
    assert!(
        report.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Passed),
        "{report}"
    );
    assert_eq!(harness.fresh().await.place().number(), 2);

    // Database 0 is filled, and the two others are empty.
    server.command(&["SET", "mine", "1"]).unwrap();
    let url = format!("redis://127.0.0.1:{}/0", server.port());
    let refused = harness!(&url).unwrap_err().to_string();
    assert_eq!(
        refused,
        "database 0 of the given server is not empty, and so is left alone"
    );
    assert_eq!(keyspace(&server), ["0:keys=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_empty_database_is_refused() {
    let server = require!(
        "redis",
        RedisServer::start_with(["--databases", "1", "--requirepass", "hunter2"])
    );
    server.command(&["SET", "mine", "1"]).unwrap();
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let refused = harness!(&url).unwrap_err().to_string();
    assert_eq!(refused, "none of the 1 databases of the given server is empty");

    server.command(&["DEL", "mine"]).unwrap();
    let harness = harness!(&url).unwrap();
    assert!(harness.is_confined());
    assert!(!format!("{harness:?}").contains("hunter2"));

    let wrong = format!("redis://:hunter3@127.0.0.1:{}", server.port());
    let refused = harness!(&wrong).unwrap_err().to_string();
    assert!(!refused.contains("hunter3"), "{refused}");
}

fn all_passed(report: &Report) {
    assert!(
        report.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Passed),
        "{report}"
    );
}

/// Starts a server on which these commands are disabled.
fn without(commands: &[&str]) -> Result<RedisServer, require::Unavailable> {
    let arguments = commands.iter().flat_map(|command| ["--rename-command", command, ""]);
    RedisServer::start_with(["--databases", "2"].into_iter().chain(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_flushdb_the_databases_are_emptied_key_by_key() {
    let server = require!(
        "redis",
        without(&["FLUSHDB", "FLUSHALL", "CONFIG", "KEYS", "DEBUG", "INFO", "DBSIZE"])
    );
    let url = format!("redis://127.0.0.1:{}", server.port());
    let harness = harness!(&url).unwrap();
    harness.check_commands().await.unwrap();
    // Clauses with thousands of keys, with a list, and with a key that is not UTF-8.
    let many = ["del-04", "glob-09"].map(|id| id.parse().unwrap());
    let report = run_only(&harness, clauses().filter(|id| id.ident() != "scan_08").chain(many)).await;
    // The server does not report its version.
    let (_, glob_09) = report.outcomes.last().unwrap();
    assert!(
        matches!(glob_09, Outcome::Skipped(reason) if reason.contains("CVE-2022-36021")),
        "{report}"
    );
    assert_eq!(report.failures().count(), 0, "{report}");
    for database in 0..2 {
        let database = codex_kv::connect(&format!("{url}/{database}")).await.unwrap();
        let all = codex_kv::Pattern::all();
        let page = codex_kv::KvBackend::scan(&database, codex_kv::ScanRequest::new(&all))
            .await
            .unwrap();
        assert!(
            page.keys.is_empty() && page.next.is_none(),
            "{} keys are left",
            page.keys.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_could_not_be_emptied_again_is_never_written_to() {
    let server = require!("redis", without(&["FLUSHDB", "SCAN"]));
    let url = format!("redis://127.0.0.1:{}", server.port());
    let refused = harness!(&url).unwrap_err().to_string();
    assert!(
        refused.starts_with(
            "the suite could not empty a database again, so nothing was written: FLUSHDB is refused (ERR unknown command"
        ),
        "{refused}"
    );
    assert!(refused.ends_with("allow FLUSHDB, or SCAN and DEL"), "{refused}");
    assert_eq!(keyspace(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_commands_is_told_which_ones_to_allow() {
    let server = require!("redis", RedisServer::start_with(["--databases", "2"]));
    let user = |rules: &[&str]| {
        let command = [&["ACL", "SETUSER", "suite", "reset", "on", ">hunter2"], rules].concat();
        server.command(&command).unwrap();
        format!("redis://suite:hunter2@127.0.0.1:{}", server.port())
    };
    let url = user(&["~*", "+@all", "resetchannels"]);
    let refused = harness!(&url).unwrap_err().to_string();
    assert!(
        refused.starts_with("no database could be claimed (NOPERM "),
        "{refused}"
    );
    assert!(
        refused.contains("+subscribe +pubsub") && refused.contains("&codex-testkit:*"),
        "{refused}"
    );

    let url = user(&["~*", "&*", "+@all", "-@scripting", "-incrby"]);
    let harness = harness!(&url).unwrap();
    let refused = harness.check_commands().await.unwrap_err().to_string();
    assert!(
        refused.starts_with("the server refuses commands that the backend needs: "),
        "{refused}"
    );
    assert!(
        refused.contains("del_if_equals: ") && refused.contains("incr: "),
        "{refused}"
    );
    assert!(!refused.contains("hunter2"), "{refused}");
    assert_eq!(keyspace(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_stays_behind_fails_the_clause_and_names_the_database() {
    let server = require!("redis", RedisServer::start_with(["--databases", "2"]));
    let url = format!("redis://127.0.0.1:{}/1", server.port());
    let harness = ServerHarness::on(&url, |url| {
        let server = &server;
        async move {
            let backend = codex_kv::connect(&url).await?;
            // At this point the database is leased but not yet written to.
            server.command(&["ACL", "SETUSER", "default", "-flushdb"]).unwrap();
            Ok(backend)
        }
    })
    .unwrap();
    let report = run_only(&harness, ["get-03".parse().unwrap()]).await;
    let Outcome::Failed(message) = &report.outcomes[0].1 else {
        panic!("{report}");
    };
    assert!(
        message.contains("database 1 could not be emptied again (NOPERM "),
        "{message}"
    );
    server.command(&["ACL", "SETUSER", "default", "+flushdb"]).unwrap();
}

/// Returns the clauses about outages.
fn outages() -> impl Iterator<Item = ClauseId> {
    let ids = [
        "life-01", "life-02", "life-03", "life-05", "life-11", "life-12", "life-13", "life-14",
    ];
    ids.into_iter().map(|id| id.parse().unwrap())
}

// A short deadline, because each stalled call takes all of it.
const DEADLINE: &str = "command_timeout=500ms";

#[tokio::test(flavor = "multi_thread")]
async fn the_clauses_about_outages_run_over_tcp_before_other_clauses() {
    let server = require!("redis", RedisServer::start_with(["--databases", "2"]));
    let url = format!("redis://127.0.0.1:{}?{DEADLINE}&max_reply_bytes=8388608", server.port());
    // After the outages, the other clauses run on the server itself.
    all_passed(&run_only(&harness!(&url).unwrap(), outages().chain(clauses())).await);
    assert_eq!(keyspace(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clauses_about_outages_run_over_a_unix_socket() {
    let server = require!("redis", RedisServer::start_with(["--databases", "2"]));
    let url = format!("redis+unix://{}?{DEADLINE}", server.socket().display());
    all_passed(&run_only(&harness!(&url).unwrap(), outages()).await);
    assert_eq!(keyspace(&server), [""; 0]);
}
