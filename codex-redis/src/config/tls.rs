//! TLS settings: trusted authorities and the client certificate.

use std::{fmt, sync::Arc};

use codex_traits::Result;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::config::settings::bad_setting;

/// Whom to trust, and as whom to come, over TLS 1.2 or 1.3.
///
/// By default the server's certificate must be signed by an authority that the public web trusts (Mozilla's list) and be made
/// out to the host that is dialled; no certificate of the client's is shown. There is no way to turn the check off.
///
/// ```no_run
/// use codex_redis::{RedisBackend, RedisTls};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = RedisTls::new()
///     .certificate_authority(std::fs::read("/etc/redis/ca.pem")?)
///     .client_certificate(std::fs::read("/etc/app/client.pem")?, std::fs::read("/etc/app/client.key")?);
/// let backend = RedisBackend::builder().url("rediss://cache.internal").tls(tls).build().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct RedisTls {
    authorities: Vec<Vec<u8>>,
    client: Option<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)>,
    server_name: Option<String>,
}

impl RedisTls {
    /// The defaults above.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts this authority: one or more certificates in PEM. From the first one on, the public ones are not trusted any more.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(pem.into());
        self
    }

    /// Shows this certificate to a server that asks for one: the chain in PEM, its own certificate first, and its private key in
    /// PEM (PKCS #8, PKCS #1 or SEC 1).
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client = Some((chain.into(), zeroize::Zeroizing::new(key.into())));
        self
    }

    /// The name that the server's certificate must be made out to, where that is not the host which is dialled.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    pub(crate) fn check(&self) -> Result<Connector> {
        let mut roots = RootCertStore::empty();
        if self.authorities.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in &self.authorities {
            for certificate in certificates(pem).ok_or_else(|| bad_setting(BAD_AUTHORITY))? {
                roots.add(certificate).map_err(|_| bad_setting(BAD_AUTHORITY))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| bad_setting("tls: the versions of the protocol are not available"))?
            .with_root_certificates(roots);
        let config = match &self.client {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain).ok_or_else(|| bad_setting(BAD_CLIENT))?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| bad_setting(BAD_CLIENT))?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| bad_setting(BAD_CLIENT))?
            }
        };
        let name = match &self.server_name {
            None => None,
            Some(name) => Some(
                ServerName::try_from(name.clone())
                    .map_err(|_| bad_setting("tls: the server name must be a DNS name or an IP address"))?,
            ),
        };
        Ok(Connector {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

const BAD_AUTHORITY: &str = "tls: the certificate authority must be at least one X.509 certificate in PEM";
const BAD_CLIENT: &str =
    "tls: the client certificate must be a chain of X.509 certificates in PEM and its own private key";

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    Some(found).filter(|found| !found.is_empty())
}

// A private key is no text for a log.
impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls")
            .field("authorities", &self.authorities.len())
            .field("client_certificate", &self.client.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// Checked, and shared by all connections, which so can resume a session.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) connector: TlsConnector,
    pub(crate) name: Option<ServerName<'static>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector(..)")
    }
}

#[cfg(test)]
mod tests {
    use codex_traits::ErrorKind;

    use super::*;

    #[test]
    fn what_is_no_certificate_is_told_at_build_time() {
        assert!(RedisTls::new().check().is_ok());
        let broken = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n";
        for (tls, expected) in [
            (RedisTls::new().certificate_authority("hunter2"), "authority"),
            (RedisTls::new().certificate_authority(broken), "authority"),
            (
                RedisTls::new().client_certificate("hunter2", "hunter2"),
                "client certificate",
            ),
            (RedisTls::new().server_name("hunter 2"), "server name"),
        ] {
            let error = tls.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?} {tls:?}").contains("hunter2"), "{error:?}");
        }
    }
}
