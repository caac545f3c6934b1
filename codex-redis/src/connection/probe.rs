//! Detection of the protocol of a port, after a handshake or a login on it failed without a reason.
//!
//! A TLS server closes on a Redis command without a word, and Redis waits for the end of a TLS
//! handshake as for the end of a command. A second connection, on which nothing secret is sent,
//! tells these from a server that is down.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A `ClientHello` of TLS 1.2 that offers no cipher suite which a server has: it answers with an
/// alert.
const CLIENT_HELLO: [u8; 52] = [
    22, 3, 1, 0, 47, // a handshake record of 47 bytes
    1, 0, 0, 43, // a ClientHello of 43 bytes
    3, 3, // TLS 1.2
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // random
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // random
    0, // no session
    0, 4, 0, 0, 0, 255, // two cipher suites: none, and a signal that is none
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
