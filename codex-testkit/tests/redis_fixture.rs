//! Tests of the fixture that starts real Redis servers.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    env, fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Output, Stdio, abort},
    thread,
    time::{Duration, Instant},
};

use codex_testkit::{
    redis::{Database, RedisCluster, RedisContainer, RedisServer, Value},
    require,
    require::Unavailable,
};

/// Marks a child process that runs the same test again, and may be killed or lack a tool.
const ROLE: &str = "CODEX_FIXTURE_CHILD";

fn is_child() -> bool {
    env::var_os(ROLE).is_some()
}

fn child(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(ROLE, "1");
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the text that a child printed after `mark`.
fn said(output: &Output, mark: &str) -> String {
    let text = stdout(output);
    let line = text.lines().find_map(|line| line.split_once(mark));
    let (_, said) = line.unwrap_or_else(|| panic!("no {mark} in {text} {}", stderr(output)));
    said.trim().to_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

#[test]
fn databases_are_empty_and_apart() {
    let one = require!("redis", Database::lease());
    let two = require!("redis", Database::lease());
    assert_ne!(one.number(), two.number());
    one.command(&["SET", "k", "v"]).unwrap();
    assert_eq!(one.command(&["GET", "k"]).unwrap(), bulk("v"));
    assert_eq!(two.command(&["DBSIZE"]).unwrap(), Value::Int(0));
    assert!(one.url().ends_with(&format!("/{}", one.number())), "{}", one.url());
}

#[test]
fn what_no_backend_writes_can_be_planted() {
    let database = require!("redis", Database::lease());
    database.command(&["RPUSH", "list", "x"]).unwrap();
    database
        .command(&[b"SET".as_slice(), b"\xff\xfe", b"\x00\x01"])
        .unwrap();
    assert_eq!(
        database.command(&["TYPE", "list"]).unwrap(),
        Value::SimpleString("list".into())
    );
    let raw = database.command(&[b"GET".as_slice(), b"\xff\xfe"]).unwrap();
    assert_eq!(raw, Value::BulkString(vec![0, 1]));
}

#[tokio::test]
async fn it_works_inside_a_runtime() {
    let database = require!("redis", Database::lease());
    assert_eq!(database.command(&["DBSIZE"]).unwrap(), Value::Int(0));
}

#[test]
fn a_private_server_is_killed_restarted_paused_and_resumed() {
    let server = require!("redis", RedisServer::start());
    server.command(&["SET", "k", "v"]).unwrap();
    let first = server.pid();
    server.kill();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.restart();
    assert_ne!(server.pid(), first);
    assert_eq!(server.command(&["GET", "k"]).unwrap(), Value::Nil);

    server.pause();
    let asked = thread::scope(|scope| {
        let asked = scope.spawn(|| server.command(&["PING"]));
        thread::sleep(Duration::from_millis(100));
        assert!(!asked.is_finished(), "a frozen server answered");
        server.resume();
        asked.join().unwrap()
    });
    assert_eq!(asked.unwrap(), Value::SimpleString("PONG".into()));
    // Even a frozen server can be killed.
    server.pause();
    server.kill();
}

#[test]
fn a_private_server_takes_arguments() {
    let server = require!("redis", RedisServer::start_with(["--requirepass", "open sesame"]));
    assert_eq!(server.command(&["PING"]).unwrap(), Value::SimpleString("PONG".into()));
    let error = RedisServer::start_with(["--no-such-setting", "1"]).unwrap_err();
    assert!(error.to_string().contains("ended at once"), "{error}");
}

#[test]
fn a_password_is_not_in_the_debug_output() {
    let server = require!("redis", RedisServer::start_with(["--requirepass", "secret"]));
    let text = format!("{server:?}");
    assert!(
        !text.contains("secret") && text.contains(&server.port().to_string()),
        "{text}"
    );
}

#[test]
fn a_cluster_with_a_dead_node_is_not_leased_again() {
    let cluster = require!("redis", RedisCluster::lease());
    let url = cluster.url();
    cluster.masters()[0].kill();
    drop(cluster);
    let other = RedisCluster::lease().unwrap();
    assert_ne!(other.url(), url);
    assert!(other.masters().iter().all(|node| node.command(&["PING"]).is_ok()));
}

#[test]
fn a_server_does_not_outlive_an_aborted_process() {
    if is_child() {
        let server = RedisServer::start().unwrap();
        println!("DIRECTORY {}", server.socket().parent().unwrap().display());
        println!("PORT {}", server.port());
        abort();
    }
    drop(require!("redis", RedisServer::start()));
    let output = child("a_server_does_not_outlive_an_aborted_process").output().unwrap();
    assert!(!output.status.success());
    let port: u16 = said(&output, "PORT").parse().unwrap();
    let directory = said(&output, "DIRECTORY");
    until("the server is gone", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    until("its directory is gone", || !fs::exists(&directory).unwrap());
}

/// Fails unless the container engine already has the image, because tests do not pull images.
fn image_at_hand() -> Result<(), Unavailable> {
    let image = RedisContainer::image();
    match Command::new("docker").args(["image", "inspect", &image]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Unavailable::new(format!("no image {image}: {}", stderr(&output)))),
        Err(error) => Err(Unavailable::new(format!("no docker client: {error}"))),
    }
}

fn container_exists(name: &str) -> bool {
    let filter = format!("name={name}");
    let listed = Command::new("docker")
        .args(["ps", "--all", "--quiet", "--filter", &filter])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", stderr(&listed));
    !listed.stdout.is_empty()
}

#[tokio::test]
async fn a_container_serves_and_is_removed() {
    require!("docker", image_at_hand());
    let container = RedisContainer::start().unwrap();
    let mut connection = redis::Client::open(container.url()).unwrap().get_connection().unwrap();
    let databases: (String, String) = redis::cmd("CONFIG")
        .arg("GET")
        .arg("databases")
        .query(&mut connection)
        .unwrap();
    assert_eq!(databases.1, "16384");
    let url = container.url();
    container.remove();
    assert!(redis::Client::open(url).unwrap().get_connection().is_err());
}

#[test]
fn a_container_is_used_where_there_is_no_server_and_does_not_outlive_the_process() {
    if is_child() {
        println!("PID {}", std::process::id());
        let database = Database::lease().unwrap();
        database.command(&["SET", "k", "v"]).unwrap();
        println!("UNIX {:?}", database.unix_url());
        abort();
    }
    require!("docker", image_at_hand());
    let tools = tools_without_redis("container");
    let output = child("a_container_is_used_where_there_is_no_server_and_does_not_outlive_the_process")
        .env("PATH", &tools)
        .env_remove("CODEX_TEST_REDIS_URL")
        .output()
        .unwrap();
    assert_eq!(said(&output, "UNIX"), "None");
    let name = format!("codex-redis-{}-", said(&output, "PID"));
    until("the container is gone", || !container_exists(&name));
    fs::remove_dir_all(tools).unwrap();
}

/// Creates a directory for `PATH` that has a shell and a container client, but no redis-server.
fn tools_without_redis(name: &str) -> PathBuf {
    let tools = env::temp_dir().join(format!("codex-tools-{name}-{}", std::process::id()));
    fs::create_dir_all(&tools).unwrap();
    let path = env::var_os("PATH").unwrap();
    for tool in ["sh", "docker"] {
        if let Some(found) = env::split_paths(&path)
            .map(|path| path.join(tool))
            .find(|path| path.exists())
        {
            symlink(found, tools.join(tool)).unwrap();
        }
    }
    tools
}

#[test]
fn what_is_not_to_be_had_is_said_once_and_counted() {
    if is_child() {
        let _database = require!("redis", Database::lease());
        panic!("there was a Redis after all");
    }
    let tools = tools_without_redis("nothing");
    let mut child = child("what_is_not_to_be_had_is_said_once_and_counted");
    child
        .env("PATH", &tools)
        .env("DOCKER_HOST", "unix:///nowhere.sock")
        .env_remove("CODEX_TEST_REDIS_URL");

    let skipped = child.env_remove("CODEX_REQUIRE").output().unwrap();
    assert!(skipped.status.success(), "{}", stderr(&skipped));
    let text = stderr(&skipped);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("CODEX-SKIPPED ")).collect();
    let [line] = lines[..] else { panic!("{text}") };
    assert!(
        line.contains("redis_fixture::what_is_not_to_be_had_is_said_once_and_counted: "),
        "{line}"
    );
    for tried in [
        "CODEX_TEST_REDIS_URL is not set",
        "no redis-server on PATH",
        "no container of the image",
    ] {
        assert!(line.contains(tried), "{line}");
    }

    let required = child.env("CODEX_REQUIRE", "docker,redis").output().unwrap();
    assert!(!required.status.success());
    assert!(
        stderr(&required).contains("CODEX_REQUIRE lists redis"),
        "{}",
        stderr(&required)
    );
    fs::remove_dir_all(tools).unwrap();
}

#[test]
fn a_given_server_lends_only_empty_databases_and_keeps_what_others_have_there() {
    if is_child() {
        let numbers: BTreeSet<u32> = thread::scope(|scope| {
            let testers: Vec<_> = (0..4)
                .map(|tester| scope.spawn(move || use_a_database(tester)))
                .collect();
            testers.into_iter().map(|tester| tester.join().unwrap()).collect()
        });
        println!("NUMBERS {numbers:?}");
        return;
    }
    let server = require!("redis", RedisServer::start_with(["--databases", "4"]));
    server.command(&["SET", "foreign", "data"]).unwrap();
    let children: Vec<_> = (0..2)
        .map(|_| {
            child("a_given_server_lends_only_empty_databases_and_keeps_what_others_have_there")
                .env("CODEX_TEST_REDIS_URL", server.url())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        let numbers = said(&output, "NUMBERS");
        assert!(!numbers.contains('0'), "{numbers}");
    }
    assert_eq!(server.command(&["GET", "foreign"]).unwrap(), bulk("data"));
    let Value::BulkString(keyspace) = server.command(&["INFO", "keyspace"]).unwrap() else {
        panic!()
    };
    let keyspace = String::from_utf8(keyspace).unwrap();
    assert!(
        keyspace.contains("db0:keys=1,") && !keyspace.contains("db1"),
        "{keyspace}"
    );
}

/// Uses a leased database for a while, and checks that it contains no keys of other tests.
fn use_a_database(tester: u32) -> u32 {
    let database = Database::lease().unwrap();
    let key = format!("{}-{tester}", std::process::id());
    database.command(&["SET", &key, "x"]).unwrap();
    thread::sleep(Duration::from_millis(30));
    assert_eq!(database.command(&["DBSIZE"]).unwrap(), Value::Int(1));
    assert_eq!(database.command(&["GET", &key]).unwrap(), bulk("x"));
    database.number()
}
