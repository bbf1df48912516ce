//! Files that say where a Kubernetes cluster is and who we are there. Source: `client-go`'s
//! `tools/clientcmd`.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    Auth, Authorization, BasicAuth, Credential, HttpClientConfig, Secret, Url,
    yaml::{self, Node, NodeKind},
};

/// The current context of a kubeconfig file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Kubeconfig {
    /// Where the API is.
    pub server: Url,
    /// How it is reached, with whose credentials.
    pub http: HttpClientConfig,
}

impl Kubeconfig {
    /// Reads a file's text. Relative paths in it begin at `directory`, where the file is. Credentials
    /// that only a program can give (`exec`, `auth-provider`) are refused: none is started.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let root = yaml::load(text).map_err(|e| e.message)?.ok_or("it is empty")?;
        let context = string(&root, "current-context").filter(|name| !name.is_empty()).ok_or(
            "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable",
        )?;
        let missing = |what: &str, name: &str| format!("{what} {name:?} does not exist");
        let named = |list, key, name: &str| entry(&root, list, name).and_then(|e| get(e, key));
        let context =
            named("contexts", "context", context).ok_or_else(|| missing("context", context))?;
        let cluster_name = string(context, "cluster").unwrap_or_default();
        let cluster = named("clusters", "cluster", cluster_name)
            .ok_or_else(|| missing("cluster", cluster_name))?;
        let server = string(cluster, "server").ok_or("the cluster has no server")?;
        let server = Url::parse(server).map_err(|e| format!("server: {e}"))?;
        let mut http = HttpClientConfig::default();
        let at = Directory(directory);
        http.tls.ca = at.credential(cluster, "certificate-authority")?;
        http.tls.insecure_skip_verify =
            string(cluster, "insecure-skip-tls-verify").is_some_and(|text| text == "true");
        http.tls.server_name = string(cluster, "tls-server-name").map(str::to_owned);
        if let Some(proxy) = string(cluster, "proxy-url").filter(|url| !url.is_empty()) {
            http.proxy.url = Some(Url::parse(proxy).map_err(|e| format!("proxy-url: {e}"))?);
        }
        let user_name = string(context, "user").unwrap_or_default();
        if !user_name.is_empty() {
            let user =
                named("users", "user", user_name).ok_or_else(|| missing("auth info", user_name))?;
            at.user(user, &mut http)?;
        }
        Ok(Self { server, http })
    }
}

/// Where relative paths begin.
struct Directory<'a>(&'a Path);

impl Directory<'_> {
    fn user(&self, user: &Node, http: &mut HttpClientConfig) -> Result<(), String> {
        for program in ["exec", "auth-provider"] {
            if get(user, program).is_some_and(|node| !node.is_null()) {
                return Err(format!(
                    "credentials by {program} are not served: no program is started"
                ));
            }
        }
        http.tls.cert = self.credential(user, "client-certificate")?;
        http.tls.key = self.credential(user, "client-key")?;
        let text = |key| string(user, key).filter(|text| !text.is_empty());
        http.auth = if let Some(file) = text("tokenFile") {
            Auth::Authorization(Authorization::bearer(Credential::File(self.0.join(file))))
        } else if let Some(token) = text("token") {
            let token = Credential::Inline(Secret::new(token));
            Auth::Authorization(Authorization::bearer(token))
        } else if let Some(username) = text("username") {
            Auth::Basic(BasicAuth::new(username, text("password").unwrap_or_default()))
        } else {
            Auth::None
        };
        Ok(())
    }

    /// What `key` names, or `key-data` holds in base64.
    fn credential(&self, node: &Node, key: &str) -> Result<Credential, String> {
        let data_key = format!("{key}-data");
        if let Some(data) = string(node, &data_key).filter(|text| !text.is_empty()) {
            let compact: String = data.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(compact).map_err(|e| format!("{data_key}: {e}"))?;
            let text = String::from_utf8(bytes).map_err(|e| format!("{data_key}: {e}"))?;
            return Ok(Credential::Inline(Secret::new(text)));
        }
        let file = string(node, key).filter(|text| !text.is_empty());
        Ok(file.map_or(Credential::None, |file| Credential::File(self.0.join(file))))
    }
}

fn get<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let NodeKind::Map(pairs) = &node.kind else { return None };
    let is = |node: &Node| matches!(&node.kind, NodeKind::Scalar(s) if s.text == key);
    pairs.iter().find(|(name, _)| is(name)).map(|(_, value)| value)
}

fn string<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &get(node, key)?.kind {
        NodeKind::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// The entry of a list of named things.
fn entry<'a>(root: &'a Node, list: &str, name: &str) -> Option<&'a Node> {
    let NodeKind::List(items) = &get(root, list)?.kind else { return None };
    items.iter().find(|item| string(item, "name") == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: v1
kind: Config
current-context: b
clusters:
- name: near
  cluster: {server: 'https://10.0.0.1:6443', certificate-authority: ca.crt}
- name: far
  cluster:
    server: https://far:6443/k8s
    certificate-authority-data: Y2E=
    tls-server-name: kubernetes
contexts:
- {name: a, context: {cluster: near, user: file}}
- {name: b, context: {cluster: far, user: inline}}
users:
- {name: file, user: {client-certificate: me.crt, client-key: /keys/me.key}}
- {name: inline, user: {token: secret}}
- {name: program, user: {exec: {command: aws}}}
";

    #[test]
    fn reads_the_current_context() {
        let far = Kubeconfig::parse(TEXT, Path::new("/home/me")).unwrap();
        assert_eq!(far.server.as_str(), "https://far:6443/k8s");
        assert_eq!(far.http.tls.ca, Credential::Inline(Secret::new("ca")));
        assert_eq!(far.http.tls.server_name.as_deref(), Some("kubernetes"));
        let token = Credential::Inline(Secret::new("secret"));
        assert_eq!(far.http.auth, Auth::Authorization(Authorization::bearer(token)));
        let near = TEXT.replace("current-context: b", "current-context: a");
        let near = Kubeconfig::parse(&near, Path::new("/home/me")).unwrap();
        assert_eq!(near.http.tls.ca, Credential::File("/home/me/ca.crt".into()));
        assert_eq!(near.http.tls.key, Credential::File("/keys/me.key".into()));
    }

    #[test]
    fn says_what_is_missing() {
        let fail = |text: &str| Kubeconfig::parse(text, Path::new("/")).unwrap_err();
        assert!(fail("").contains("empty"));
        assert!(fail("a: 1").contains("no configuration has been provided"));
        assert!(fail(&TEXT.replace("context: b", "context: c")).contains("\"c\" does not exist"));
        assert!(fail(&TEXT.replace("user: inline", "user: program")).contains("exec"));
    }
}
