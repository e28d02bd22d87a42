//! TLS 1.3, and nothing older. The certificate and its key are read again when their files change: both or neither, and those of
//! before go on where the new ones cannot be used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foretap::{Error, ErrorKind, Result};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use x509_parser::parse_x509_certificate;

use crate::config::GuardConfig;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The server's certificate, as its files have it.
#[derive(Clone)]
pub struct Certificates {
    files: Files,
    /// What tells the files that were read from others.
    digest: [u8; 32],
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// What it is read from.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// What was read: the settings of connections, until when they hold, and what tells these files from others.
struct Loaded {
    config: ServerConfig,
    not_after: i64,
    digest: [u8; 32],
}

impl Certificates {
    /// Those of the settings; `None` where they name none.
    ///
    /// # Errors
    /// A file cannot be read, the key is not the certificate's, or the certificate has expired.
    pub fn open(config: &GuardConfig) -> Result<Option<Self>> {
        let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) else {
            return Ok(None);
        };
        let files = Files {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: config.client_ca_file.clone(),
        };
        let loaded = files.load()?;
        expires(loaded.not_after);
        let current = Arc::new(RwLock::new(Arc::new(loaded.config)));
        Ok(Some(Self { files, digest: loaded.digest, current }))
    }

    /// What a new connection is made by.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files now and then, for ever.
    pub async fn watch(self) {
        let mut known = self.digest;
        loop {
            tokio::time::sleep(LOOK).await;
            let files = self.files.clone();
            let Ok(digest) = tokio::task::spawn_blocking(move || files.digest()).await else { return };
            if digest.as_ref().is_ok_and(|digest| *digest == known) {
                continue;
            }
            match self.files.load() {
                Ok(loaded) => {
                    known = loaded.digest;
                    expires(loaded.not_after);
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded.config);
                    tracing::info!("the server's certificate was read again");
                }
                Err(error) => {
                    metrics::counter!("foretap_certificate_errors_total").increment(1);
                    tracing::error!(%error, "the new certificate cannot be used; the one before goes on");
                }
            }
        }
    }
}

fn expires(not_after: i64) {
    metrics::gauge!("foretap_certificate_expires_at").set(not_after as f64);
}

impl Files {
    fn digest(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        for file in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten()
        {
            hash.update(read(file)?);
        }
        Ok(hash.finalize().into())
    }

    fn load(&self) -> Result<Loaded> {
        // Before the files are read: what changes meanwhile is seen at the next look.
        let digest = self.digest()?;
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_| {
            Error::new(ErrorKind::Config, "no private key as PEM")
                .file(&self.key)
                .next_step("give the key of the certificate, not encrypted")
        })?;
        let not_after = chain.first().map_or(Ok(0), |first| not_after(first, &self.certificate))?;
        if not_after <= jiff::Timestamp::now().as_second() {
            return Err(Error::new(ErrorKind::Config, "the certificate has expired")
                .file(&self.certificate)
                .next_step("put a new one in its place"));
        }
        let versions = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error, &self.certificate))?;
        let checked = match &self.client_ca {
            None => versions.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| unusable(&error, file))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                // Phones come without one, and show a token.
                let verifier = verifier.allow_unauthenticated().build();
                versions.with_client_cert_verifier(verifier.map_err(|error| unusable(&error, file))?)
            }
        };
        let mut config =
            checked.with_single_cert(chain, key).map_err(|error| unusable(&error, &self.certificate))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config, not_after, digest })
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| Error::io(file, "read", error).next_step("look at [guard]"))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(file)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
        Error::new(ErrorKind::Config, "no certificates as PEM")
            .file(file)
            .next_step("give the certificate, and those between it and the authority's, in this order")
    })
}

fn not_after(certificate: &CertificateDer<'_>, file: &Path) -> Result<i64> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|error| unusable(&error, file))?;
    Ok(parsed.validity().not_after.timestamp())
}

fn unusable(error: &dyn std::fmt::Display, file: &Path) -> Error {
    Error::new(ErrorKind::Config, format!("cannot be used for TLS: {error}"))
        .file(file)
        .next_step("look whether certificate and key belong together, and are what [guard] says")
}

/// The cryptography, named: a program may have several, and then there is no default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// How a client of ours checks a server: by the certificates in `ca_file`, or by those of the public web.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn client(ca_file: Option<&Path>) -> Result<TlsConfig> {
    let roots = match ca_file {
        None => RootCerts::WebPki,
        Some(file) => {
            let found = certificates(file)?;
            let found: Vec<Certificate<'static>> =
                found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
            RootCerts::new_with_certs(&found)
        }
    };
    Ok(client_of(roots))
}

/// The same by certificates that were read.
pub(crate) fn client_of(roots: RootCerts) -> TlsConfig {
    TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider()).build()
}
