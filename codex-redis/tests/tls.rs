//! TLS: the trust between client and server, and the errors for a mismatch.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use codex_redis::{RedisBackend, RedisTls};
use codex_testkit::{
    redis::{Certificates, RedisServer},
    require,
};
use codex_traits::{Error, ErrorKind, KvBackend};
use support::{SECRET, assert_kind, every_verb, put, until};

fn url(server: &RedisServer, host: &str) -> String {
    format!("rediss://{host}:{}/3", server.tls_port().unwrap())
}

async fn connect(url: &str, tls: RedisTls) -> Result<RedisBackend, Error> {
    RedisBackend::builder().url(url).tls(tls).build().await
}

fn trusting(certificates: &Certificates) -> RedisTls {
    RedisTls::new().certificate_authority(certificates.authority())
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_by_its_name() {
    let certificates = require!("redis", Certificates::new());
    let server = require!("redis", RedisServer::start_with_tls::<&str>(&certificates, []));
    for host in ["localhost", "127.0.0.1"] {
        let backend = connect(&url(&server, host), trusting(&certificates)).await.unwrap();
        put(&backend, "k", host).await;
        assert_eq!(backend.get("k").await.unwrap().unwrap(), host);
    }
    // TLS works without the scheme of the URL too.
    let tls_port = server.tls_port().unwrap();
    let built = RedisBackend::builder()
        .tcp("localhost", tls_port)
        .tls(trusting(&certificates));
    assert_eq!(built.build().await.unwrap().get("k").await.unwrap(), None);

    let stranger = require!("redis", Certificates::new());
    for (tls, reason, remedy) in [
        (RedisTls::new(), "authority that is not trusted", "tls_ca_file"),
        (trusting(&stranger), "authority that is not trusted", "tls_ca_file"),
        (
            trusting(&certificates).server_name("cache.internal"),
            "for another host",
            "tls_server_name",
        ),
    ] {
        let error = assert_kind(
            "connect",
            connect(&url(&server, "localhost"), tls).await,
            ErrorKind::Config,
        );
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains(remedy), "{text}");
    }
    let named = trusting(&certificates).server_name("localhost");
    connect(&url(&server, "127.0.0.1"), named).await.unwrap();
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_the_clients() {
    let certificates = require!("redis", Certificates::new());
    let insisting = ["--tls-auth-clients", "yes"];
    let server = require!("redis", RedisServer::start_with_tls(&certificates, insisting));
    let own = trusting(&certificates).client_certificate(certificates.client_certificate(), certificates.client_key());
    let backend = connect(&url(&server, "localhost"), own).await.unwrap();
    put(&backend, "k", "v").await;

    let stranger = require!("redis", Certificates::new());
    let foreign = trusting(&certificates).client_certificate(stranger.client_certificate(), stranger.client_key());
    for tls in [trusting(&certificates), foreign] {
        let error = assert_kind(
            "connect",
            connect(&url(&server, "localhost"), tls).await,
            ErrorKind::Config,
        );
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let mismatched =
        trusting(&certificates).client_certificate(stranger.client_certificate(), certificates.client_key());
    let error = assert_kind(
        "connect",
        connect(&url(&server, "localhost"), mismatched).await,
        ErrorKind::Config,
    );
    assert!(error.to_string().contains("client certificate"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() {
    for (certificates, reason) in [
        (Certificates::expired(), "has expired"),
        (Certificates::not_valid_yet(), "not valid yet"),
        (Certificates::for_hosts(&["cache.internal"]), "for another host"),
    ] {
        let certificates = require!("redis", certificates);
        let server = require!("redis", RedisServer::start_with_tls::<&str>(&certificates, []));
        let connected = connect(&url(&server, "localhost"), trusting(&certificates)).await;
        let error = assert_kind("connect", connected, ErrorKind::Config);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_port_with_tls_is_told() {
    let certificates = require!("redis", Certificates::new());
    let insisting = ["--tls-auth-clients", "yes"];
    let server = require!("redis", RedisServer::start_with_tls(&certificates, insisting));
    for url in ["redis://127.0.0.1", "redis://:hunter2@localhost"] {
        let url = format!("{url}:{}", server.tls_port().unwrap());
        let error = assert_kind("connect", RedisBackend::connect(&url).await, ErrorKind::Config);
        assert!(error.to_string().contains("rediss://"), "{error}");
    }
    // The handshake itself succeeds without a client certificate. The server requires the
    // certificate afterwards.
    let error = connect(&self::url(&server, "localhost"), trusting(&certificates)).await;
    let error = assert_kind("connect", error, ErrorKind::Config);
    assert!(error.to_string().contains("tls_cert_file"), "{error}");
}

#[tokio::test]
async fn a_port_without_tls_is_told() {
    let certificates = require!("redis", Certificates::new());
    let server = require!("redis", RedisServer::start());
    let url = format!("rediss://:{SECRET}@127.0.0.1:{}", server.port());
    // The server waits for the end of the supposed command, so the client probes it over a second
    // connection.
    let error = assert_kind(
        "connect",
        connect(&url, trusting(&certificates)).await,
        ErrorKind::Config,
    );
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    let socket = format!("redis+unix://{}", server.socket().display());
    let error = assert_kind("connect", connect(&socket, RedisTls::new()).await, ErrorKind::Config);
    assert!(error.to_string().contains("Unix socket"), "{error}");
}

#[tokio::test]
async fn a_handle_over_tls_heals_after_a_crash() {
    let certificates = require!("redis", Certificates::new());
    let server = require!("redis", RedisServer::start_with_tls::<&str>(&certificates, []));
    let backend = connect(&url(&server, "localhost"), trusting(&certificates))
        .await
        .unwrap();
    put(&backend, "k", "v").await;
    server.kill();
    let _ = backend.get("k").await;
    assert_kind("get", backend.get("k").await, ErrorKind::Connection);
    server.restart();
    until("the handle works again", async || backend.get("k").await.is_ok()).await;
    for (verb, result) in every_verb(&backend).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
    }
}
