//! The access rights that docs/redis.md lists.

use codex_testkit::redis::RedisServer;

/// The user with these rights.
pub(crate) const USER: &str = "app";

pub(crate) const PASSWORD: &str = "a-password-of-app";

/// Returns the rights of one deployment from the guide.
pub(crate) fn rights(deployment: &str) -> Vec<&'static str> {
    const GUIDE: &str = include_str!("../../../docs/redis.md");
    let mark = format!("<!-- acl: {deployment} -->\n```text\n");
    let Some((_, rest)) = GUIDE.split_once(&mark) else {
        panic!("the guide lists no rights for {deployment}")
    };
    rest.split("```")
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect()
}

/// Creates the user on this server with only these rights and `more`.
pub(crate) fn grant(server: &RedisServer, deployment: &str, more: &[&'static str]) {
    let password = format!(">{PASSWORD}");
    let mut command = vec!["ACL", "SETUSER", USER, "reset", "on", &password];
    command.extend(rights(deployment));
    command.extend(more);
    let answer = server.command(&command);
    answer.unwrap_or_else(|error| panic!("the server does not know a right: {error}"));
}
