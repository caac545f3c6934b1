//! TLS under a connection.

use std::io;

use codex_traits::ErrorKind;
use tokio::net::TcpStream;
use tokio_rustls::{
    client::TlsStream,
    rustls::{self, pki_types::ServerName},
};

use super::failure::DialError;
use crate::config::tls::{Connector, TlsSource};

/// Makes the connector of one dial, with the files as they are now.
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
    made.map_err(|error| DialError {
        source: error.source,
        ..DialError::config(error.message)
    })
}

impl Connector {
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        self.connector.connect(name, stream).await
    }
}

pub(super) fn handshake_failed(error: &io::Error) -> DialError {
    match misconfigured(error) {
        Some(message) => DialError::config(message),
        None => DialError {
            kind: ErrorKind::Connection,
            message: "the TLS handshake with the server failed",
            source: Some(error.kind()),
            retryable: true,
        },
    }
}

/// What a failed handshake was about, where it is the settings that are wrong and not the network.
pub(crate) fn misconfigured(error: &io::Error) -> Option<&'static str> {
    use rustls::{AlertDescription as Alert, Error};
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(_) => Some("the server's TLS certificate is not trusted, or not for this host"),
        Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::DecryptError
            | Alert::AccessDenied
            | Alert::HandshakeFailure,
        ) => Some("the server refused the client's TLS certificate, or wants one"),
        Error::InvalidMessage(_) => Some("the server does not speak TLS on this port"),
        _ => None,
    }
}
