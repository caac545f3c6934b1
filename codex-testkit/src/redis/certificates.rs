//! TLS certificates from an authority that exists for a single test.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::require::Unavailable;

/// A newly generated certificate authority, with a server certificate for `localhost`, `127.0.0.1`
/// and `::1`, and a client certificate. All are in PEM format.
#[derive(Clone)]
pub struct Certificates {
    authority: String,
    server: Pair,
    client: Pair,
}

/// The names of a server on this machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Certificates {
    /// Generates the certificates.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the system provides no random numbers.
    pub fn new() -> Result<Self, Unavailable> {
        Self::made(&LOCAL, |_| ())
    }

    /// Generates certificates, with a server certificate for these hosts only.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), or if a host name is not ASCII.
    ///
    /// # Panics
    ///
    /// If `hosts` is empty.
    pub fn for_hosts(hosts: &[&str]) -> Result<Self, Unavailable> {
        Self::made(hosts, |_| ())
    }

    /// Generates certificates, with a server certificate that expired at the end of 2020.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn expired() -> Result<Self, Unavailable> {
        Self::made(&LOCAL, |server| server.not_after = date_time_ymd(2020, 12, 31))
    }

    /// Generates certificates, with a server certificate that is not valid before 2100.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn not_valid_yet() -> Result<Self, Unavailable> {
        Self::made(&LOCAL, |server| server.not_before = date_time_ymd(2100, 1, 1))
    }

    fn made(hosts: &[&str], server: fn(&mut CertificateParams)) -> Result<Self, Unavailable> {
        Self::make(hosts, server).map_err(|error| Unavailable::new(format!("no certificates: {error}")))
    }

    fn make(hosts: &[&str], server: fn(&mut CertificateParams)) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Each certificate gets a name. Without names, issuer and subject would be equal, and the
        // certificate would count as self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "codex-testkit authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let issue = |names: &[&str],
                     usage: ExtendedKeyUsagePurpose,
                     change: fn(&mut CertificateParams)|
         -> Result<Pair, rcgen::Error> {
            let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            params.distinguished_name.push(DnType::CommonName, names[0]);
            params.extended_key_usages = vec![usage];
            change(&mut params);
            let key = KeyPair::generate()?;
            Ok(Pair {
                certificate: params.signed_by(&key, &authority)?.pem(),
                key: key.serialize_pem(),
            })
        };
        Ok(Self {
            server: issue(hosts, ExtendedKeyUsagePurpose::ServerAuth, server)?,
            client: issue(&["client"], ExtendedKeyUsagePurpose::ClientAuth, |_| ())?,
            authority: authority.pem(),
        })
    }

    /// Returns the authority's certificate.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the client's certificate.
    pub fn client_certificate(&self) -> &str {
        &self.client.certificate
    }

    /// Returns the client's private key.
    pub fn client_key(&self) -> &str {
        &self.client.key
    }

    /// Returns the names and contents of the files that a server is started with.
    pub(super) fn files(&self) -> [(&'static str, String); 3] {
        [
            ("ca.pem", self.authority.clone()),
            ("server.pem", self.server.certificate.clone()),
            ("server.key", self.server.key.clone()),
        ]
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}
