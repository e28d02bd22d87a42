//! The door: who comes in, over which connection, and what they may do.
//!
//! ```text
//! connections   how many, how slow, how old; a stop that waits, and not for ever
//! tls           TLS 1.3; certificates are read again when they change; certificates of services
//! tokens        OpenID Connect: bearer tokens of an issuer, by its published keys
//! keys          API keys, hashed where they are kept
//! roles         which role may do what: one table
//! quotas        requests a second of each caller
//! ```
//!
//! Whoever asks has one identity: by an API key or a bearer token, or else by the certificate of the connection. What is on no
//! table is refused. Nobody is authenticated by default, and then the door listens on the loopback interface alone.

mod connections;
mod keys;
mod quotas;
mod roles;
mod tls;
mod tokens;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use foretap::Result;
use foretap::data::UserId;

pub use connections::{Connections, Peer};
pub use keys::{ApiKeys, KeyInfo, MadeKey};
pub use roles::{PROTOCOL_ROUTES, ROUTES, Role, Route, may};
pub use tls::Certificates;
pub(crate) use tls::{client as client_tls, client_of as client_tls_of};
pub use tokens::Tokens;

use crate::config::GuardConfig;
use quotas::Quotas;

/// Bytes of a credential, at most.
const MAX_CREDENTIAL: usize = 8 << 10;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's subject, the API key's id, or the certificate's fingerprint: for logs, and for quotas.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The only person that a device speaks for.
    pub user: Option<UserId>,
}

impl Identity {
    /// Where nobody is authenticated.
    fn anybody() -> Self {
        Self { name: "anybody".into(), role: Role::Admin, user: None }
    }

    /// Whether they may send events of this person, and ask for them.
    pub fn speaks_for(&self, user: UserId) -> bool {
        self.role != Role::Device || self.user == Some(user)
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// 401, 403, 429 or 503.
    pub status: StatusCode,
    /// What whoever asked is answered. It says nothing of other callers.
    pub reason: String,
    /// Seconds after which another attempt may do better.
    pub retry_after_secs: Option<u64>,
}

impl Denied {
    fn unknown(reason: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, reason: reason.into(), retry_after_secs: None }
    }

    fn later(status: StatusCode, reason: impl Into<String>, secs: u64) -> Self {
        Self { status, reason: reason.into(), retry_after_secs: Some(secs) }
    }
}

/// Decides about requests.
pub struct Guard {
    is_open: bool,
    keys: Option<ApiKeys>,
    tokens: Option<Tokens>,
    quotas: Quotas,
}

impl Guard {
    /// By the settings. `keys_file` is where API keys are kept.
    ///
    /// # Errors
    /// The file of keys or of the issuer's certificates cannot be read. The issuer itself is asked when its first token comes.
    pub fn open(config: &GuardConfig, keys_file: &std::path::Path) -> Result<Self> {
        let tokens = (!config.issuer.is_empty()).then(|| Tokens::of(config)).transpose()?;
        let keys = config.authenticate.then(|| ApiKeys::open(keys_file)).transpose()?;
        Ok(Self { is_open: !config.authenticate, keys, tokens, quotas: Quotas::of(config) })
    }

    /// Whether nobody is authenticated.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Who sent a request with these headers over a connection to `peer`, and whether `role`'s table has the route.
    ///
    /// # Errors
    /// They are nobody, or may not do it, or not so often, or the issuer of tokens cannot be asked.
    pub async fn admit(
        &self,
        (method, path): (&str, &str),
        headers: &HeaderMap,
        peer: &Peer,
    ) -> std::result::Result<Identity, Denied> {
        if self.is_open {
            return Ok(Identity::anybody());
        }
        let identity = self.identify(headers, peer).await?;
        if !may(method, path, identity.role) {
            let reason = format!("the role `{}` may not do this", identity.role.name());
            return Err(Denied { status: StatusCode::FORBIDDEN, reason, retry_after_secs: None });
        }
        self.quotas.take(&identity.name)?;
        Ok(identity)
    }

    async fn identify(&self, headers: &HeaderMap, peer: &Peer) -> std::result::Result<Identity, Denied> {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = sent.next() else {
            return match &peer.certificate {
                Some(fingerprint) => {
                    Ok(Identity { name: Arc::clone(fingerprint), role: Role::Service, user: None })
                }
                None => Err(Denied::unknown("send `Authorization: Bearer` with an API key or a token")),
            };
        };
        if sent.next().is_some() {
            return Err(Denied::unknown("send one `Authorization` header"));
        }
        let credential = value.to_str().ok().and_then(|value| {
            let (scheme, credential) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(credential.trim())
        });
        let credential = credential
            .filter(|credential| !credential.is_empty() && credential.len() <= MAX_CREDENTIAL)
            .ok_or_else(|| Denied::unknown("send `Authorization: Bearer` with an API key or a token"))?;
        if let (true, Some(keys)) = (ApiKeys::is_one(credential), &self.keys) {
            return keys.identify(credential);
        }
        match &self.tokens {
            Some(tokens) => tokens.identify(credential).await,
            None => Err(Denied::unknown("no such API key, and no issuer of tokens is known here")),
        }
    }
}
