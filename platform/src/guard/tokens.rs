//! Bearer tokens of an OpenID Connect issuer, checked by the keys that it publishes.
//!
//! A token's header says which key and which algorithm it claims. The key is looked up among the issuer's; the algorithm must be
//! one of a list without shared secrets, and one that this key is for. Issuer, audience and times are required. The keys are
//! fetched when the first token comes, every ten minutes, and when a token names a key that is not known, but not more often
//! than each half a minute, whoever asks. While the issuer does not answer, its last keys go on for a day.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use foretap::{Error, ErrorKind, Result};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::{Denied, Identity, Role};
use crate::config::GuardConfig;

/// Signatures by private keys. None by shared secrets: whoever checks those could make them.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// How old keys may be before they are fetched again, how often that may be tried, and until when old ones are trusted.
const FRESH: Duration = Duration::from_secs(600);
const COOL_DOWN: Duration = Duration::from_secs(30);
const OLDEST: Duration = Duration::from_secs(24 * 3_600);
/// Of one request to the issuer.
const FETCH: Duration = Duration::from_secs(5);
/// Bytes of the issuer's documents, at most.
const MAX_DOCUMENT: u64 = 1 << 20;

/// Checks tokens.
pub struct Tokens {
    issuer: Issuer,
    validation: Validation,
    role_claim: String,
    user_claim: String,
    known: RwLock<Known>,
    /// One request to the issuer at a time.
    fetching: tokio::sync::Mutex<Option<Instant>>,
}

/// The issuer's keys.
#[derive(Default)]
struct Known {
    keys: Arc<HashMap<String, IssuerKey>>,
    fetched: Option<Instant>,
}

/// A key, and the one algorithm that it is for, if the issuer says so.
#[derive(Clone)]
struct IssuerKey {
    key: DecodingKey,
    only: Option<Algorithm>,
}

impl Tokens {
    /// Of the settings' issuer, for the settings' audience.
    ///
    /// # Errors
    /// The file of its certificates cannot be read.
    pub fn of(config: &GuardConfig) -> Result<Self> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = config.leeway_secs;
        Ok(Self {
            issuer: Issuer::of(config)?,
            validation,
            role_claim: config.role_claim.clone(),
            user_claim: config.user_claim.clone(),
            known: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Who a token is for.
    ///
    /// # Errors
    /// It is no token of this issuer for this audience at this time, or the issuer's keys cannot be had.
    pub async fn identify(&self, token: &str) -> std::result::Result<Identity, Denied> {
        let header = decode_header(token).map_err(|_| Denied::unknown("this is no signed token"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Denied::unknown("tokens signed this way are not accepted"));
        }
        if header.crit.is_some() {
            return Err(Denied::unknown("the token has extensions that are not known here"));
        }
        let kid = header.kid.ok_or_else(|| Denied::unknown("the token does not name its key"))?;
        let key = self.key(&kid).await?;
        if key.only.is_some_and(|only| only != header.alg) {
            return Err(Denied::unknown("the token's key is for another algorithm"));
        }
        // One that is not of the key's kind is refused there.
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let claims = decode::<HashMap<String, Value>>(token, &key.key, &validation)
            .map_err(|error| Denied::unknown(reason(error.kind())))?
            .claims;
        self.identity(&claims)
    }

    fn identity(&self, claims: &HashMap<String, Value>) -> std::result::Result<Identity, Denied> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let subject = text("sub").ok_or_else(|| Denied::unknown("the token has no subject"))?;
        let role = text(&self.role_claim).and_then(Role::named).ok_or_else(|| {
            let role_claim = &self.role_claim;
            Denied::unknown(format!("the token's claim `{role_claim}` names no role of this server"))
        })?;
        let user = text(&self.user_claim).map(|user| {
            let user_claim = &self.user_claim;
            user.parse().map_err(|()| Denied::unknown(format!("the token's claim `{user_claim}` is no user")))
        });
        let user = user.transpose()?;
        if role == Role::Device && user.is_none() {
            let user_claim = &self.user_claim;
            return Err(Denied::unknown(format!("a device's token needs the claim `{user_claim}`")));
        }
        Ok(Identity { name: format!("subject {subject}").into(), role, user })
    }

    /// The issuer's key of this name.
    async fn key(&self, kid: &str) -> std::result::Result<IssuerKey, Denied> {
        if let (Some(key), true) = (self.found(kid), self.age().is_some_and(|age| age < FRESH)) {
            return Ok(key);
        }
        self.fetch(kid).await;
        match self.age() {
            Some(age) if age < OLDEST => {
                self.found(kid).ok_or_else(|| Denied::unknown("the issuer has no such key"))
            }
            _ => {
                let reason = "the issuer of tokens does not answer: send the request again";
                Err(Denied::later(StatusCode::SERVICE_UNAVAILABLE, reason, COOL_DOWN.as_secs()))
            }
        }
    }

    fn found(&self, kid: &str) -> Option<IssuerKey> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).keys.get(kid).cloned()
    }

    fn age(&self) -> Option<Duration> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.fetched.map(|fetched| fetched.elapsed())
    }

    /// Fetches the keys, if nobody did a moment ago. Whoever comes meanwhile waits for the one request.
    async fn fetch(&self, kid: &str) {
        let mut tried = self.fetching.lock().await;
        if tried.is_some_and(|tried| tried.elapsed() < COOL_DOWN) {
            return;
        }
        *tried = Some(Instant::now());
        let issuer = self.issuer.clone();
        let fetched = tokio::task::spawn_blocking(move || issuer.keys()).await;
        match fetched {
            Ok(Ok(keys)) => {
                tracing::info!(keys = keys.len(), "the issuer's keys were fetched");
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                *known = Known { keys: Arc::new(keys), fetched: Some(Instant::now()) };
                metrics::counter!("foretap_issuer_fetches_total", "outcome" => "fetched").increment(1);
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the issuer's keys cannot be fetched; those of before go on for a day");
                metrics::counter!("foretap_issuer_fetches_total", "outcome" => "failed").increment(1);
            }
            Err(_) => tracing::error!(kid, "the request to the issuer ended early"),
        }
    }
}

/// What is said of a token that does not hold. Not what would have held.
fn reason(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as Kind;
    match kind {
        Kind::ExpiredSignature => "the token has expired",
        Kind::ImmatureSignature => "the token is not valid yet",
        Kind::InvalidIssuer => "the token is of another issuer",
        Kind::InvalidAudience => "the token is for another audience",
        Kind::MissingRequiredClaim(_) | Kind::InvalidClaimFormat(_) => {
            "the token lacks one of `exp`, `iss`, `aud`, `sub`"
        }
        _ => "the token's signature does not hold",
    }
}

/// Where its keys are.
#[derive(Clone)]
struct Issuer {
    url: String,
    agent: ureq::Agent,
}

/// `.well-known/openid-configuration`, in so far as it is needed.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Each key by itself: one that nobody knows does not spoil the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Issuer {
    fn of(config: &GuardConfig) -> Result<Self> {
        let tls = super::tls::client(config.issuer_ca_file.as_deref())?;
        let agent = ureq::Agent::config_builder().timeout_global(Some(FETCH)).tls_config(tls).build();
        Ok(Self { url: config.issuer.clone(), agent: agent.into() })
    }

    fn keys(&self) -> Result<HashMap<String, IssuerKey>> {
        let place = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let found: Discovery = self.read(&place)?;
        if found.issuer != self.url {
            let message = format!("the issuer at {} calls itself {}", self.url, found.issuer);
            return Err(Error::new(ErrorKind::Config, message)
                .field("guard.issuer")
                .next_step("write it as it does"));
        }
        // A document that came over TLS must not lead out of it.
        if self.url.starts_with("https://") && !found.jwks_uri.starts_with("https://") {
            return Err(Error::new(ErrorKind::Data, "the issuer's keys are not behind https"));
        }
        let set: KeySet = self.read(&found.jwks_uri)?;
        let mut keys = HashMap::new();
        for key in set.keys {
            match of_json(key) {
                Some((kid, key)) => {
                    keys.insert(kid, key);
                }
                None => metrics::counter!("foretap_issuer_keys_unusable_total").increment(1),
            }
        }
        Ok(keys)
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, url: &str) -> Result<T> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Io, format!("cannot read {url}: {error}"))
                .field("guard.issuer")
                .next_step("look whether the issuer answers, and at `issuer_ca_file` in [guard]")
        };
        let mut answer = self.agent.get(url).call().map_err(|error| failed(&error))?;
        let bytes = answer.body_mut().with_config().limit(MAX_DOCUMENT).read_to_vec();
        let bytes = bytes.map_err(|error| failed(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(&error))
    }
}

/// A key with its name, if it is one that signatures are checked by.
fn of_json(key: Value) -> Option<(String, IssuerKey)> {
    let key: Jwk = serde_json::from_value(key).ok()?;
    let is_public = matches!(
        key.algorithm,
        AlgorithmParameters::RSA(_)
            | AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKeyPair(_)
    );
    let is_for_signatures =
        key.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    let kid = key.common.key_id.clone()?;
    let only = match &key.common.key_algorithm {
        Some(named) => Some(named.to_string().parse().ok()?),
        None => None,
    };
    let key = DecodingKey::from_jwk(&key).ok()?;
    (is_public && is_for_signatures).then_some((kid, IssuerKey { key, only }))
}
