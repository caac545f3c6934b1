//! TLS under a connection.

use std::{io, net::SocketAddr};

use futures_util::future::{Either, select};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{
    client::TlsStream,
    rustls::{self, CertificateError, pki_types::ServerName},
};

use super::{failure::DialError, probe};
use crate::config::tls::{Connector, TlsSource};

/// Returns the connector for a dial, with the current files.
pub(super) async fn connector(source: &TlsSource) -> Result<Connector, DialError> {
    let made = if source.has_files() {
        let source = source.clone();
        let reading = tokio::task::spawn_blocking(move || source.connector());
        reading
            .await
            .map_err(|_| DialError::unreachable("the TLS files were not read: the runtime is shutting down"))?
    } else {
        source.connector()
    };
    made.map_err(|error| DialError::config(error.message).because(error.source))
}

/// Performs the handshake before the deadline. A zone, as in `fe80::1%eth0`, is not a part of the
/// name.
pub(super) async fn handshake(
    connector: &Connector,
    host: &str,
    stream: TcpStream,
    deadline: Instant,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = if let Some(name) = &connector.name {
        name.clone()
    } else {
        let host = host.split_once('%').map_or(host, |(address, _)| address);
        ServerName::try_from(host.to_owned())
            .map_err(|_| DialError::config("a certificate cannot be valid for this host: set tls_server_name"))?
    };
    let peer = stream.peer_addr()?;
    let start = Instant::now();
    let mut handshake = Box::pin(connector.connector.connect(name, stream));
    let half = start + deadline.saturating_duration_since(start) / 2;
    if let Ok(outcome) = timeout_at(half, &mut handshake).await {
        return outcome.map_err(|error| handshake_failed(&error));
    }
    // Redis takes a handshake for the beginning of a command, and waits for the rest of it.
    match timeout_at(deadline, select(handshake, Box::pin(plain_text(peer)))).await {
        Ok(Either::Left((outcome, _))) => outcome.map_err(|error| handshake_failed(&error)),
        Ok(Either::Right((error, _))) => Err(error),
        Err(_) => Err(DialError::late(
            "the server did not answer the TLS handshake within the connect timeout: the port may not speak TLS",
        )),
    }
}

/// Completes only if the port speaks Redis without TLS.
async fn plain_text(peer: SocketAddr) -> DialError {
    if probe::speaks_redis(peer).await {
        DialError::config(NO_TLS)
    } else {
        std::future::pending().await
    }
}

const NO_TLS: &str = "the server does not speak TLS on this port: use its TLS port, or a redis:// URL";

fn handshake_failed(error: &io::Error) -> DialError {
    if let Some(message) = misconfigured(error) {
        return DialError::config(message);
    }
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the server closed the connection during the TLS handshake: the port may not speak TLS, or the server is at its \
             connection limit"
        }
        _ => "the TLS handshake with the server failed",
    };
    DialError::unreachable(message).because(Some(error.kind()))
}

/// Returns the error text for a handshake, or for a session at its first reply, that failed because
/// of settings or certificates and not because of the network.
pub(super) fn misconfigured(error: &io::Error) -> Option<&'static str> {
    use rustls::{AlertDescription as Alert, Error};
    let message = match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(reason) => certificate(reason),
        Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => {
                "the server requires a client certificate, and none is set: use tls_cert_file and tls_key_file, or \
                 `RedisTls::client_certificate`"
            }
            Alert::CertificateExpired => "the server says that the client certificate has expired: renew it",
            Alert::CertificateRevoked => "the server says that the client certificate was revoked: replace it",
            Alert::UnknownCA => {
                "the server does not trust the authority of the client certificate: use one that its `tls-ca-cert-file` signed"
            }
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::AccessDenied => "the server refused the client certificate",
            Alert::HandshakeFailure => {
                "the server refused the TLS handshake: it may require a client certificate, or share no cipher suite"
            }
            Alert::ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3",
            Alert::UnrecognisedName => {
                "the server has no certificate for this host: check the host, or set tls_server_name"
            }
            _ => return None,
        },
        Error::InvalidMessage(_) => NO_TLS,
        Error::PeerIncompatible(_) => "the server shares no version or cipher suite of TLS 1.2 or 1.3 with this client",
        _ => return None,
    };
    Some(message)
}

fn certificate(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it, and check this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: check this machine's clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host: dial a name that it lists, or set tls_server_name"
        }
        // A wrong signature comes from an authority with the same name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is signed by an authority that is not trusted here: name it by tls_ca_file, or \
             `RedisTls::certificate_authority`"
        }
        CertificateError::Revoked => "the server's certificate was revoked: replace it",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers (extended key usage): replace it"
        }
        CertificateError::Other(_) => {
            "the server's certificate is not acceptable: it may be a CA certificate, as `openssl req -x509` makes by \
             default"
        }
        _ => "the server's certificate is not acceptable",
    }
}
