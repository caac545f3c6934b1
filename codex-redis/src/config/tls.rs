//! TLS settings: trusted authorities and the client certificate.

use std::{
    fmt, fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use codex_traits::{Error, Result};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use zeroize::Zeroizing;

use super::settings::bad_setting;

/// TLS root certificates and the client certificate, for TLS 1.2 and 1.3.
///
/// By default the server's certificate must be signed by a public authority (Mozilla's list) and be
/// valid for the dialled host. No client certificate is sent. Verification cannot be turned off.
///
/// ```no_run
/// use codex_redis::{RedisBackend, RedisTls};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = RedisTls::new()
///     .certificate_authority(std::fs::read("/etc/redis/ca.pem")?)
///     .client_certificate_files("/etc/app/client.pem", "/etc/app/client.key");
/// let backend = RedisBackend::builder().url("rediss://cache.internal").tls(tls).build().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct RedisTls {
    authorities: Vec<Pem>,
    client: Option<(Pem, Pem)>,
    server_name: Option<String>,
}

/// The content of a PEM file, or its path.
#[derive(Clone)]
enum Pem {
    Content(Content),
    /// A file that is read at each dial, and the setting that errors name.
    File(&'static str, PathBuf),
}

impl RedisTls {
    /// Returns the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts this authority: one or more certificates in PEM. Public authorities are then no
    /// longer trusted.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Content(Zeroizing::new(pem.into())));
        self
    }

    /// Trusts the authorities in this PEM file. It is read again at each dial, so it can be
    /// replaced while the program runs.
    pub fn certificate_authority_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File("tls_ca_file", path.into()));
        self
    }

    /// Sends this certificate if a server asks for a client certificate: the chain in PEM, the
    /// client's own certificate first, and its private key in PEM (PKCS #8, PKCS #1 or SEC 1).
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let content = |pem| Pem::Content(Zeroizing::new(pem));
        self.client = Some((content(chain.into()), content(key.into())));
        self
    }

    /// Sends the certificate in these PEM files. They are read again at each dial, so the next
    /// connection uses a renewed certificate. If chain and key do not match because a file is being
    /// replaced, the dial fails, and the next dial reads the files again.
    pub fn client_certificate_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((
            Pem::File("tls_cert_file", chain.into()),
            Pem::File("tls_key_file", key.into()),
        ));
        self
    }

    /// Requires the server's certificate to be valid for this name instead of the dialled host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Checks the settings and the current content of the files.
    pub(crate) fn check(self) -> Result<TlsSource> {
        let source = TlsSource(Arc::new(Source {
            settings: self,
            last: Mutex::default(),
        }));
        source.connector().map_err(TlsError::into_error)?;
        Ok(source)
    }

    fn has_files(&self) -> bool {
        let client = self.client.iter().flat_map(|(chain, key)| [chain, key]);
        self.authorities
            .iter()
            .chain(client)
            .any(|pem| matches!(pem, Pem::File(..)))
    }
}

/// A fault in the TLS settings or in the files that they name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TlsError {
    pub(crate) message: &'static str,
    pub(crate) source: Option<io::ErrorKind>,
}

impl TlsError {
    fn into_error(self) -> Error {
        let error = bad_setting(self.message);
        match self.source {
            Some(source) => error.with_source(io::Error::from(source)),
            None => error,
        }
    }
}

impl From<&'static str> for TlsError {
    fn from(message: &'static str) -> Self {
        Self { message, source: None }
    }
}

/// The source of the TLS connector for each dial. Clones share the last connector, and with it the
/// sessions that it can resume.
#[derive(Clone)]
pub(crate) struct TlsSource(Arc<Source>);

struct Source {
    settings: RedisTls,
    last: Mutex<Option<(Material, Connector)>>,
}

/// The contents of the files of a connector.
#[derive(PartialEq, Eq)]
struct Material {
    authorities: Vec<Content>,
    /// The chain and the private key.
    client: Option<(Content, Content)>,
}

/// The content of a PEM file, which can be a private key.
type Content = Zeroizing<Vec<u8>>;

impl TlsSource {
    /// Returns whether [`connector`](Self::connector) reads files, and so can block.
    pub(crate) fn has_files(&self) -> bool {
        self.0.settings.has_files()
    }

    /// Returns the connector for the current files. Reuses the last connector if no file has
    /// changed.
    pub(crate) fn connector(&self) -> Result<Connector, TlsError> {
        let lock = || self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_files()
            && let Some((_, connector)) = &*lock()
        {
            return Ok(connector.clone());
        }
        let material = Material::read(&self.0.settings)?;
        if let Some((last, connector)) = &*lock()
            && *last == material
        {
            return Ok(connector.clone());
        }
        let connector = material.connector(self.0.settings.server_name.as_ref())?;
        *lock() = Some((material, connector.clone()));
        Ok(connector)
    }
}

impl fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSource(..)")
    }
}

impl Pem {
    fn read(&self) -> Result<Content, TlsError> {
        match self {
            Self::Content(content) => Ok(content.clone()),
            // Keep only the kind of the error: its text can repeat the path, which may be a
            // misplaced password in a URL.
            Self::File(setting, path) => fs::read(path).map(Zeroizing::new).map_err(|error| TlsError {
                message: match *setting {
                    "tls_ca_file" => "tls_ca_file: the file cannot be read; check its path and permissions",
                    "tls_cert_file" => "tls_cert_file: the file cannot be read; check its path and permissions",
                    _ => "tls_key_file: the file cannot be read; check its path and permissions",
                },
                source: Some(error.kind()),
            }),
        }
    }
}

impl Material {
    fn read(settings: &RedisTls) -> Result<Self, TlsError> {
        Ok(Self {
            authorities: settings.authorities.iter().map(Pem::read).collect::<Result<_, _>>()?,
            client: match &settings.client {
                None => None,
                Some((chain, key)) => Some((chain.read()?, key.read()?)),
            },
        })
    }

    fn connector(&self, server_name: Option<&String>) -> Result<Connector, TlsError> {
        let mut roots = RootCertStore::empty();
        if self.authorities.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in &self.authorities {
            for certificate in certificates(pem).ok_or(BAD_AUTHORITY)? {
                roots.add(certificate).map_err(|_| BAD_AUTHORITY)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| "tls: the versions of the protocol are not available")?
            .with_root_certificates(roots);
        let config = match &self.client {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain).ok_or(BAD_CLIENT)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BAD_CLIENT)?;
                config.with_client_auth_cert(chain, key).map_err(|_| BAD_CLIENT)?
            }
        };
        let name = match server_name {
            None => None,
            Some(name) => Some(
                ServerName::try_from(name.clone())
                    .map_err(|_| "tls_server_name: must be a DNS name or an IP address, for example cache.internal")?,
            ),
        };
        Ok(Connector {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

const BAD_AUTHORITY: &str =
    "tls: the certificate authority must be at least one X.509 certificate in PEM (`-----BEGIN CERTIFICATE-----`)";
const BAD_CLIENT: &str = "tls: the client certificate must be a chain of X.509 certificates in PEM and the private key that belongs to the first";

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    Some(found).filter(|found| !found.is_empty())
}

// A log must not contain a private key.
impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls")
            .field("authorities", &self.authorities.len())
            .field("client_certificate", &self.client.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// A checked TLS configuration.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) connector: TlsConnector,
    pub(crate) name: Option<ServerName<'static>>,
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
            (RedisTls::new().certificate_authority_file("/hunter2"), "tls_ca_file"),
            (
                RedisTls::new().client_certificate("hunter2", "hunter2"),
                "client certificate",
            ),
            (
                RedisTls::new().client_certificate_files("/hunter2", "/hunter2"),
                "tls_cert_file",
            ),
            (RedisTls::new().server_name("hunter 2"), "tls_server_name"),
        ] {
            let shown = format!("{tls:?}");
            let error = tls.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?} {shown}").contains("hunter2"), "{error:?}");
        }
    }
}
