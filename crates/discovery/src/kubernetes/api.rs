//! The API of Kubernetes: lists in pages, and watches that go on where a list ends.

use std::{path::Path, sync::Arc, time::Duration};

use firesteel_config::{
    Auth, Authorization, Credential, HttpClientConfig, Kubeconfig, KubernetesSdConfig,
};
use firesteel_net::{Body, Limits};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::objects::{Meta, Object};
use crate::{
    DiscoveryError, DiscoveryMetrics,
    http_api::{Api, MAX_BYTES, Query, decode},
};

/// Where a pod finds what it may know about its cluster.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(120);
/// Objects of a page.
const PAGE: &str = "500";
/// The longest event.
const MAX_EVENT: usize = 32 << 20;

/// A cluster's API.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    api: Api,
    metrics: Arc<DiscoveryMetrics>,
    /// The namespace of the pod we run in, where that was asked for.
    pub(crate) own_namespace: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// The path, with the namespace if there is one.
    pub(crate) path: String,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
}

/// A page of a list.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) resource_version: String,
    /// Asks for the next one; empty after the last.
    pub(crate) next: String,
}

/// Why the API did not do what it was asked.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// What was known is too old: everything has to be listed anew.
    Expired,
    /// Anything else, such as that we may not.
    Failed(String),
}

impl ApiError {
    fn of(code: u16, message: String) -> Self {
        if code == 410 { Self::Expired } else { Self::Failed(message) }
    }
}

impl From<DiscoveryError> for ApiError {
    fn from(error: DiscoveryError) -> Self {
        Self::Failed(error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: Object")]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<T>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    code: u16,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// What a watch tells.
pub(crate) enum WatchEvent<T> {
    /// An object is new, or has changed.
    Put(T),
    /// An object is gone.
    Deleted(T),
    /// Nothing, up to a version.
    Bookmark(String),
}

/// A watch under way.
pub(crate) struct Watch {
    body: Body,
    buffer: Vec<u8>,
    /// How much of the buffer has been searched for the end of a line.
    searched: usize,
}

impl Cluster {
    pub(crate) fn connect(
        config: &KubernetesSdConfig,
        user_agent: &str,
        metrics: Arc<DiscoveryMetrics>,
    ) -> Result<Self, DiscoveryError> {
        let mut own_namespace = None;
        let (server, http) = if let Some(path) = &config.kubeconfig_file {
            kubeconfig(path)?
        } else if let Some(server) = &config.api_server {
            (server.as_str().to_owned(), config.http.clone())
        } else {
            let found = in_cluster(|name| std::env::var(name).ok(), Path::new(SERVICE_ACCOUNT))?;
            if config.own_namespace {
                own_namespace = Some(read_namespace(Path::new(SERVICE_ACCOUNT))?);
            }
            tracing::info!(
                discovery = "kubernetes",
                "Using pod service account via in-cluster config"
            );
            found
        };
        let api = Api::new(&server, &http, user_agent, LIST_TIMEOUT)?;
        Ok(Self { api, metrics, own_namespace })
    }

    /// A page of a list: the first, or the one after.
    pub(crate) async fn page<T: Object>(
        &self,
        resource: &Resource,
        next: &str,
    ) -> Result<Page<T>, ApiError> {
        let mut query = resource.query();
        query.add("limit", PAGE);
        if !next.is_empty() {
            query.add("continue", next);
        }
        let answer = self.api.bytes(&query.on(&resource.path)).await;
        let (response, body) = answer.inspect_err(|_| self.metrics.kubernetes.request(0))?;
        self.metrics.kubernetes.request(response.status.as_u16());
        if response.status != StatusCode::OK {
            return Err(refusal(response.status, &body));
        }
        let path = resource.path.clone();
        // A page may have megabytes.
        let list = tokio::task::spawn_blocking(move || decode::<List<T>>(&path, &body)).await;
        let list = list.map_err(|e| ApiError::Failed(e.to_string()))??;
        let ListMeta { resource_version, next } = list.metadata;
        Ok(Page { items: list.items.unwrap_or_default(), resource_version, next })
    }

    /// Watches what changes after a version, for so long at most.
    pub(crate) async fn watch(
        &self,
        resource: &Resource,
        version: &str,
        time: Duration,
    ) -> Result<Watch, ApiError> {
        let mut query = resource.query();
        query.add("allowWatchBookmarks", "true");
        query.add("resourceVersion", version);
        query.add("timeoutSeconds", &time.as_secs().to_string());
        query.add("watch", "true");
        let path = query.on(&resource.path);
        // The server ends the watch; what is left of it when it has not is given up.
        let all = time + Duration::from_secs(30);
        let answer = self.api.send(&path, Limits::body(u64::MAX), all).await;
        let mut response = answer.inspect_err(|_| self.metrics.kubernetes.request(0))?;
        self.metrics.kubernetes.request(response.status.as_u16());
        if response.status == StatusCode::OK {
            return Ok(Watch { body: response.body, buffer: Vec::new(), searched: 0 });
        }
        let mut body = Vec::new();
        while let Ok(Some(piece)) = response.body.chunk().await {
            if body.len() as u64 > MAX_BYTES {
                break;
            }
            body.extend_from_slice(&piece);
        }
        Err(refusal(response.status, &body))
    }
}

impl Resource {
    fn query(&self) -> Query {
        let mut query = Query::default();
        for (name, selector) in
            [("fieldSelector", &self.field_selector), ("labelSelector", &self.label_selector)]
        {
            if !selector.is_empty() {
                query.add(name, selector);
            }
        }
        query
    }
}

impl Watch {
    /// The next event; `None` when the server has ended the watch. Cancel-safe.
    pub(crate) async fn next<T: Object>(&mut self) -> Result<Option<WatchEvent<T>>, ApiError> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let end = self.searched + end;
                let event = self.buffer.get(..end).map_or(Ok(None), event);
                self.buffer.drain(..=end);
                self.searched = 0;
                match event? {
                    None => continue,
                    some => return Ok(some),
                }
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_EVENT {
                return Err(ApiError::Failed(format!("an event is longer than {MAX_EVENT} bytes")));
            }
            match self.body.chunk().await {
                Ok(Some(piece)) => self.buffer.extend_from_slice(&piece),
                // An event that has not come whole is told again by the next watch.
                Ok(None) => return Ok(None),
                Err(error) => return Err(ApiError::Failed(error.to_string())),
            }
        }
    }
}

/// An event's line; `None` for an empty one.
fn event<T: Object>(line: &[u8]) -> Result<Option<WatchEvent<T>>, ApiError> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let wrong = |e: serde_json::Error| ApiError::Failed(format!("unable to decode an event: {e}"));
    let RawEvent { kind, object } = serde_json::from_slice(line).map_err(wrong)?;
    let object = object.get();
    Ok(Some(match kind {
        "ADDED" | "MODIFIED" => WatchEvent::Put(serde_json::from_str(object).map_err(wrong)?),
        "DELETED" => WatchEvent::Deleted(serde_json::from_str(object).map_err(wrong)?),
        "BOOKMARK" => {
            #[derive(Deserialize)]
            struct Bookmark {
                metadata: Meta,
            }
            let bookmark: Bookmark = serde_json::from_str(object).map_err(wrong)?;
            WatchEvent::Bookmark(bookmark.metadata.resource_version)
        }
        "ERROR" => {
            let status: Status = serde_json::from_str(object).map_err(wrong)?;
            return Err(ApiError::of(
                status.code,
                format!("{}: {}", status.reason, status.message),
            ));
        }
        // Kinds of the future.
        _ => return Ok(None),
    }))
}

/// What an answer other than 200 says.
fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    let said: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = if said.message.is_empty() {
        let text = String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or(body));
        format!("server returned HTTP status {status}: {}", text.trim())
    } else {
        said.message
    };
    ApiError::of(status.as_u16(), message)
}

fn kubeconfig(path: &Path) -> Result<(String, HttpClientConfig), DiscoveryError> {
    let fail = |source| DiscoveryError::File { path: path.display().to_string(), source };
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let found = Kubeconfig::parse(&text, directory)
        .map_err(|reason| DiscoveryError::Groups { from: path.display().to_string(), reason })?;
    Ok((found.server.as_str().to_owned(), found.http))
}

/// What a pod is told by its environment and the files of its service account. The token is read
/// again at each use: it expires.
fn in_cluster(
    variable: impl Fn(&str) -> Option<String>,
    account: &Path,
) -> Result<(String, HttpClientConfig), DiscoveryError> {
    let get = |name| variable(name).filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (get("KUBERNETES_SERVICE_HOST"), get("KUBERNETES_SERVICE_PORT"))
    else {
        return Err(DiscoveryError::Unavailable(
            "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined".to_owned(),
        ));
    };
    let token = account.join("token");
    std::fs::metadata(&token)
        .map_err(|source| DiscoveryError::File { path: token.display().to_string(), source })?;
    let mut http = HttpClientConfig::default();
    http.auth = Auth::Authorization(Authorization::bearer(Credential::File(token)));
    let ca = account.join("ca.crt");
    if ca.exists() {
        http.tls.ca = Credential::File(ca);
    }
    Ok((format!("https://{}", crate::labels::host_port(&host, port)), http))
}

fn read_namespace(account: &Path) -> Result<String, DiscoveryError> {
    let text = std::fs::read_to_string(account.join("namespace")).map_err(|e| {
        DiscoveryError::Unavailable(format!("could not determine the pod's namespace: {e}"))
    })?;
    if text.is_empty() {
        let what = "could not read own namespace name (empty file)";
        return Err(DiscoveryError::Unavailable(what.to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_cluster_it_runs_in() {
        let none = in_cluster(|_| None, Path::new("/")).unwrap_err();
        assert!(none.to_string().starts_with("unable to load in-cluster configuration"), "{none}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "t").unwrap();
        std::fs::write(dir.path().join("ca.crt"), "ca").unwrap();
        std::fs::write(dir.path().join("namespace"), "mine").unwrap();
        let variable =
            |name: &str| Some(if name.ends_with("HOST") { "fd00::1" } else { "443" }.to_owned());
        let (server, http) = in_cluster(variable, dir.path()).unwrap();
        assert_eq!(server, "https://[fd00::1]:443");
        assert_eq!(http.tls.ca, Credential::File(dir.path().join("ca.crt")));
        let token = Credential::File(dir.path().join("token"));
        assert_eq!(http.auth, Auth::Authorization(Authorization::bearer(token)));
        assert_eq!(read_namespace(dir.path()).unwrap(), "mine");
    }
}
