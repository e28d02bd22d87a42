//! A catalog on a server, by Iceberg's REST protocol: processes of several machines share a lake by it.
//!
//! A commit names what the table was when it was read: every reference with its snapshot, and the columns. Where another commit
//! came first the server refuses it. An answer that is lost, or that does not say whether the commit was done, is looked for in the
//! table before anything else happens: nothing is deleted and nothing is sent again on an unknown outcome.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::{MAIN_BRANCH, TableMetadata, TableMetadataBuildResult};
use iceberg::table::Table;
use iceberg::{
    Error, ErrorKind, NamespaceIdent, Result, Runtime, TableCreation, TableIdent, TableRequirement,
    TableUpdate,
};
use serde_json::{Value, json};

use super::LakeCatalog;
use super::tables;
use crate::config::{LAKE_SECRET, LAKE_TOKEN, LakeConfig};

/// Tables of a server.
#[derive(Debug)]
pub(super) struct RestCatalog {
    client: Arc<Client>,
    warehouse: String,
    files: FileIO,
    runtime: Runtime,
}

/// One request, its answer included.
const REQUEST: Duration = Duration::from_secs(30);
/// Bytes of an answer: a table's metadata with all its snapshots.
const MAX_ANSWER: u64 = 256 << 20;
/// A token is asked for anew before it ends.
const BEFORE_THE_END: Duration = Duration::from_secs(30);

impl RestCatalog {
    /// Asks the server that `config` names how it is to be asked. New tables lie below `warehouse`, and are read and written by
    /// `files`.
    ///
    /// # Errors
    /// The server does not answer, or does not know who we are.
    pub async fn open(config: &LakeConfig, warehouse: String, files: FileIO) -> foretap::Result<Self> {
        let mut client = Client::of(config)?;
        let named = encoded(&config.catalog_warehouse);
        let path = match named.is_empty() {
            true => "config".to_owned(),
            false => format!("config?warehouse={named}"),
        };
        let asked = blocking(move || {
            let answer = client.send(&path, None)?.taken("ask the catalog")?;
            let prefix = ["overrides", "defaults"].iter().find_map(|part| answer[part]["prefix"].as_str());
            client.prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
            Ok(client)
        });
        let client = asked.await.map_err(|error| {
            super::failed("ask the catalog", &error)
                .field("lake.catalog_uri")
                .next_step("look whether the server answers there, and whether it knows this token or client")
        })?;
        let runtime = Runtime::try_current().map_err(|error| super::failed("find a runtime", &error))?;
        Ok(Self { client: Arc::new(client), warehouse, files, runtime })
    }

    async fn send(&self, path: String, body: Option<Value>) -> Result<Answer> {
        let client = Arc::clone(&self.client);
        blocking(move || client.send(&format!("{}{path}", client.prefix), body.as_ref())).await
    }

    fn table(&self, ident: &TableIdent, mut answer: Value) -> Result<Table> {
        let wrong =
            |what: String| Error::new(ErrorKind::DataInvalid, format!("the catalog's answer: {what}"));
        let metadata: TableMetadata =
            serde_json::from_value(answer.get_mut("metadata").map(Value::take).unwrap_or_default())
                .map_err(|error| wrong(format!("its metadata cannot be read: {error}")))?;
        let location = answer["metadata-location"].as_str();
        let location = location.ok_or_else(|| wrong("it has no `metadata-location`".to_owned()))?;
        Table::builder()
            .identifier(ident.clone())
            .metadata(metadata)
            .metadata_location(location.to_owned())
            .file_io(self.files.clone())
            .runtime(self.runtime.clone())
            .build()
    }
}

fn path_of(ident: &TableIdent) -> String {
    let namespace = encoded(&ident.namespace().to_url_string());
    format!("namespaces/{namespace}/tables/{}", encoded(ident.name()))
}

#[async_trait]
impl LakeCatalog for RestCatalog {
    async fn make_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let body = json!({ "namespace": namespace.clone().inner(), "properties": {} });
        let answer = self.send("namespaces".to_owned(), Some(body)).await?;
        if answer.status == 409 { Ok(()) } else { answer.taken("make the namespace").map(drop) }
    }

    async fn make_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<bool> {
        let namespace_path = namespace.to_url_string();
        let location = format!("{}/{namespace_path}/{}", self.warehouse, creation.name);
        let body = json!({
            "name": creation.name,
            "location": location,
            "schema": creation.schema,
            "partition-spec": creation.partition_spec,
            "stage-create": false,
            "properties": creation.properties,
        });
        let path = format!("namespaces/{}/tables", encoded(&namespace_path));
        let answer = self.send(path, Some(body)).await?;
        if answer.status == 409 {
            return Ok(false);
        }
        answer.taken("make a table").map(|_| true)
    }

    async fn load(&self, ident: &TableIdent) -> Result<Table> {
        let answer = self.send(path_of(ident), None).await?;
        if answer.status == 404 {
            return Err(Error::new(ErrorKind::TableNotFound, format!("no table `{}`", ident.name())));
        }
        self.table(ident, answer.taken("read a table")?)
    }

    async fn location(&self, ident: &TableIdent) -> Result<String> {
        Ok(self.load(ident).await?.metadata_location_result()?.to_owned())
    }

    async fn replace(&self, table: &Table, new: TableMetadataBuildResult) -> Result<()> {
        let ident = table.identifier();
        let body = json!({
            "identifier": { "namespace": ident.namespace().clone().inner(), "name": ident.name() },
            "requirements": requirements(table.metadata(), &new.changes)?,
            "updates": new.changes,
        });
        let sent = self.send(path_of(ident), Some(body)).await;
        let (status, refused) = match sent {
            Ok(answer) => (answer.status, answer.taken("commit").err()),
            Err(error) => (0, Some(error)),
        };
        let Some(refused) = refused else { return Ok(()) };
        // Refused for good: nothing was done.
        if (400..500).contains(&status) && status != 409 && status != 408 {
            return Err(refused);
        }
        // Somebody on the way may have sent it twice, and the second one is refused.
        if is_done(self.load(ident).await?.metadata(), &new) {
            return Ok(());
        }
        if status == 409 {
            let message = "another commit came first: read the table again and commit again";
            return Err(Error::new(ErrorKind::CatalogCommitConflicts, message).with_retryable(true));
        }
        Err(refused)
    }
}

/// That the table is as it was read: every reference, and the columns. What was read of its properties changes only together with
/// its newest snapshot.
fn requirements(metadata: &TableMetadata, changes: &[TableUpdate]) -> Result<Vec<TableRequirement>> {
    let of = |name: &str, snapshot_id: Option<i64>| TableRequirement::RefSnapshotIdMatch {
        r#ref: name.to_owned(),
        snapshot_id,
    };
    let tags =
        tables::tags(metadata).map_err(|error| Error::new(ErrorKind::DataInvalid, error.to_string()))?;
    let mut needed = vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
        of(MAIN_BRANCH, metadata.current_snapshot_id()),
    ];
    needed.extend(tags.iter().map(|(tag, snapshot)| of(tag, Some(*snapshot))));
    for change in changes {
        if let TableUpdate::SetSnapshotRef { ref_name, .. } = change
            && ref_name != MAIN_BRANCH
            && !tags.contains_key(ref_name)
        {
            needed.push(of(ref_name, None));
        }
    }
    Ok(needed)
}

/// Whether a table has what a commit was to change. A snapshot that is there says so of all that came with it; others may have
/// committed since.
fn is_done(now: &TableMetadata, new: &TableMetadataBuildResult) -> bool {
    let is_there = |change: &TableUpdate| match change {
        TableUpdate::AddSnapshot { snapshot } => Some(now.snapshot_by_id(snapshot.snapshot_id()).is_some()),
        _ => None,
    };
    if let Some(is_there) = new.changes.iter().find_map(is_there) {
        return is_there;
    }
    new.changes.iter().all(|change| match change {
        TableUpdate::SetProperties { updates } => {
            updates.iter().all(|(key, value)| now.properties().get(key) == Some(value))
        }
        TableUpdate::SetSnapshotRef { ref_name, reference } => now
            .snapshot_for_ref(ref_name)
            .is_some_and(|snapshot| snapshot.snapshot_id() == reference.snapshot_id),
        TableUpdate::RemoveSnapshots { snapshot_ids } => {
            snapshot_ids.iter().all(|id| now.snapshot_by_id(*id).is_none())
        }
        TableUpdate::AddSchema { .. } | TableUpdate::SetCurrentSchema { .. } => {
            now.current_schema().as_struct() == new.metadata.current_schema().as_struct()
        }
        _ => false,
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ended = |error| Error::new(ErrorKind::Unexpected, format!("a request ended early: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

/// What is never printed.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Who we are to the server.
#[derive(Debug)]
enum Login {
    Nobody,
    Token(Secret),
    /// OAuth 2, client credentials: the address where a token is asked for, and the form that is sent.
    Client {
        uri: String,
        form: Secret,
    },
}

/// A token, and when to ask for another.
type Known = Option<(Secret, Instant)>;

#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    /// Up to `/v1/`.
    base: String,
    /// What the server wants before all other paths, with a slash.
    prefix: String,
    login: Login,
    known: Mutex<Known>,
}

/// What the server said.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// The body, if the request was done.
    fn taken(self, doing: &str) -> Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let said = self.body["error"]["message"].as_str().unwrap_or("it says nothing more");
        let message = format!("the catalog refused to {doing}: {} {said}", self.status);
        Err(Error::new(ErrorKind::Unexpected, message).with_retryable(self.status >= 500))
    }
}

impl Client {
    fn of(config: &LakeConfig) -> foretap::Result<Self> {
        let tls = crate::guard::client_tls(config.catalog_ca_file.as_deref())?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(REQUEST))
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        let base = format!("{}/v1/", config.catalog_uri.trim_end_matches('/'));
        let token = secret(LAKE_TOKEN, config.token_file.as_deref())?;
        let login = match (token, &config.client_id) {
            (Some(token), _) => Login::Token(token),
            (None, None) => Login::Nobody,
            (None, Some(id)) => {
                let secret = secret(LAKE_SECRET, config.client_secret_file.as_deref())?.ok_or_else(|| {
                    foretap::Error::new(foretap::ErrorKind::Config, "there is no secret")
                        .field("lake.client_secret_file")
                        .next_step(format!("name its file, or set {LAKE_SECRET}"))
                })?;
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", id.as_str()),
                    ("client_secret", secret.0.as_str()),
                    ("scope", config.catalog_scope.as_str()),
                ];
                let form = form.map(|(key, value)| format!("{key}={}", encoded(value))).join("&");
                let uri = config.oauth_uri.clone().unwrap_or_else(|| format!("{base}oauth/tokens"));
                Login::Client { uri, form: Secret(form) }
            }
        };
        Ok(Self { agent: agent.into(), base, prefix: String::new(), login, known: Mutex::new(None) })
    }

    /// Sends a body, or asks without one. A token that the server does not take any more is asked for anew, once.
    fn send(&self, path: &str, body: Option<&Value>) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let body = body.map(Value::to_string);
        let mut answer = self.attempt(&url, body.as_deref())?;
        if matches!(answer.status, 401 | 419) && matches!(self.login, Login::Client { .. }) {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
            answer = self.attempt(&url, body.as_deref())?;
        }
        Ok(answer)
    }

    fn attempt(&self, url: &str, body: Option<&str>) -> Result<Answer> {
        let token = self.token()?;
        let bearer = token.map(|token| format!("Bearer {}", token.0));
        let sent = match body {
            None => {
                let mut request = self.agent.get(url);
                if let Some(bearer) = &bearer {
                    request = request.header("Authorization", bearer);
                }
                request.call()
            }
            Some(body) => {
                let mut request = self.agent.post(url).header("Content-Type", "application/json");
                if let Some(bearer) = &bearer {
                    request = request.header("Authorization", bearer);
                }
                request.send(body)
            }
        };
        read(sent)
    }

    fn token(&self) -> Result<Option<Secret>> {
        let (uri, form) = match &self.login {
            Login::Nobody => return Ok(None),
            Login::Token(token) => return Ok(Some(token.clone())),
            Login::Client { uri, form } => (uri, form),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, until)) = known.as_ref()
            && Instant::now() < *until
        {
            return Ok(Some(token.clone()));
        }
        let form_type = "application/x-www-form-urlencoded";
        let answer = read(self.agent.post(uri).header("Content-Type", form_type).send(form.0.as_str()))?;
        let body = answer.taken("give a token")?;
        let token = body["access_token"].as_str().map(|token| Secret(token.to_owned()));
        let token =
            token.ok_or_else(|| Error::new(ErrorKind::DataInvalid, "the answer has no `access_token`"))?;
        let lasts = Duration::from_secs(body["expires_in"].as_u64().unwrap_or(3_600));
        *known = Some((token.clone(), Instant::now() + lasts.saturating_sub(BEFORE_THE_END)));
        Ok(Some(token))
    }
}

fn read(sent: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer> {
    let failed = |error: ureq::Error| {
        Error::new(ErrorKind::Unexpected, format!("no answer of the catalog: {error}")).with_retryable(true)
    };
    let mut answer = sent.map_err(failed)?;
    let status = answer.status().as_u16();
    let bytes = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed)?;
    // Of an error, a proxy's page may come instead.
    let body = match serde_json::from_slice(&bytes) {
        Ok(body) => body,
        Err(_) if bytes.is_empty() || status >= 300 => Value::Null,
        Err(error) => {
            return Err(Error::new(
                ErrorKind::DataInvalid,
                format!("the catalog's answer is no JSON: {error}"),
            ));
        }
    };
    Ok(Answer { status, body })
}

/// A secret of the environment, or of a file.
fn secret(variable: &str, file: Option<&std::path::Path>) -> foretap::Result<Option<Secret>> {
    if let Ok(secret) = std::env::var(variable) {
        return Ok(Some(Secret(secret)));
    }
    let Some(file) = file else { return Ok(None) };
    let read = std::fs::read_to_string(file)
        .map_err(|error| foretap::Error::io(file, "read the catalog's secret", error))?;
    Ok(Some(Secret(read.trim_end_matches(['\r', '\n']).to_owned())))
}

/// A text as a part of a path or a form has it.
fn encoded(text: &str) -> String {
    let of = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_are_encoded() {
        for (text, expected) in
            [("foretap", "foretap"), ("a b/c", "a%20b%2Fc"), ("\u{1f}", "%1F"), ("s3://x", "s3%3A%2F%2Fx")]
        {
            assert_eq!(encoded(text), expected);
        }
    }
}
