//! Detection of the protocol on a port, after a handshake or a login failed without a reason.
//!
//! A TLS server silently closes a connection that sends a Redis command. Redis takes a TLS
//! handshake for the beginning of a command and waits for the rest. A second connection, which
//! sends nothing secret, distinguishes these cases from a server that is down.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A TLS 1.2 `ClientHello` that offers no real cipher suite, so that the server answers with an
/// alert.
const CLIENT_HELLO: [u8; 52] = [
    22, 3, 1, 0, 47, // a handshake record of 47 bytes
    1, 0, 0, 43, // a ClientHello of 43 bytes
    3, 3, // TLS 1.2
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // random
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // random
    0, // no session
    0, 4, 0, 0, 0, 255, // two cipher suites: NULL, and a signalling value
    1, 0, // no compression
];

/// The types of TLS records that answer it: an alert and a handshake.
const TLS_RECORDS: [u8; 2] = [21, 22];

/// Returns whether these are the first bytes of a TLS record.
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [kind, 3, ..] if TLS_RECORDS.contains(kind))
}

/// Returns whether the port answers a PING without TLS.
#[cfg(feature = "tls")]
pub(super) async fn speaks_redis(peer: SocketAddr) -> bool {
    first_byte(peer, b"PING\r\n")
        .await
        .is_some_and(|byte| b"+-".contains(&byte))
}

/// Returns whether the port answers a TLS handshake.
pub(super) async fn speaks_tls(peer: SocketAddr) -> bool {
    first_byte(peer, &CLIENT_HELLO)
        .await
        .is_some_and(|byte| TLS_RECORDS.contains(&byte))
}

async fn first_byte(peer: SocketAddr, question: &[u8]) -> Option<u8> {
    let mut stream = TcpStream::connect(peer).await.ok()?;
    stream.write_all(question).await.ok()?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await.ok()?;
    Some(byte[0])
}
