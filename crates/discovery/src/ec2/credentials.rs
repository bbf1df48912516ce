//! Who we are for Amazon, and where: what the configuration says, else the environment, the files of
//! Amazon's tools, and the machine's own role. Source: Amazon's documentation of its clients.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use firesteel_config::{Ec2SdConfig, HttpClientConfig, Secret};
use firesteel_net::{AwsCredentials, HttpClient, Request, sign_v4};
use http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use serde::Deserialize;
use tokio::time::Instant;

use super::xml::Element;
use crate::{
    DiscoveryError,
    http_api::{Query, uri},
};

/// The machine's own metadata.
const METADATA: &str = "http://169.254.169.254";
/// How long metadata may take: elsewhere than at Amazon there is nobody.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// Credentials that expire are fetched again after so long.
const LIFE: Duration = Duration::from_secs(10 * 60);

/// What the environment says; tests have another.
pub(super) type Variable = fn(&str) -> Option<String>;

/// Finds credentials and the region.
#[derive(Debug)]
pub(super) struct Identity {
    config: Ec2SdConfig,
    client: HttpClient,
    variable: Variable,
    metadata: String,
    region: Option<String>,
    known: Option<(AwsCredentials, Option<Instant>)>,
}

fn fail(what: impl Into<String>) -> DiscoveryError {
    DiscoveryError::Unavailable(what.into())
}

impl Identity {
    pub(super) fn new(config: &Ec2SdConfig, variable: Variable) -> Result<Self, DiscoveryError> {
        // Metadata and tokens are not asked for through what leads to the API.
        let client = HttpClient::new(&HttpClientConfig::default());
        let client = client.map_err(|e| fail(e.to_string()))?;
        Ok(Self {
            config: config.clone(),
            client,
            variable,
            metadata: METADATA.to_owned(),
            region: None,
            known: None,
        })
    }

    fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Forgets credentials that were refused.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// The region.
    pub(super) async fn region(&mut self) -> Result<String, DiscoveryError> {
        if let Some(region) = &self.region {
            return Ok(region.clone());
        }
        let configured = Some(self.config.region.clone()).filter(|r| !r.is_empty());
        let found = configured
            .or_else(|| self.set("AWS_REGION"))
            .or_else(|| self.set("AWS_DEFAULT_REGION"))
            .or_else(|| self.profile_setting("region"));
        let region = match found {
            Some(region) => region,
            None => {
                let path = "/latest/meta-data/placement/region";
                let asked = self.ask_metadata(path).await;
                asked.map_err(|e| fail(format!("EC2 SD configuration requires a region: {e}")))?
            }
        };
        self.region = Some(region.clone());
        Ok(region)
    }

    /// Credentials that are good for some minutes at least.
    pub(super) async fn credentials(&mut self) -> Result<AwsCredentials, DiscoveryError> {
        if let Some((credentials, until)) = &self.known
            && until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(credentials.clone());
        }
        let (mut credentials, mut lasting) = self.base().await?;
        if !self.config.role_arn.is_empty() {
            credentials = self.assume(&credentials).await?;
            lasting = false;
        }
        let until = (!lasting).then(|| Instant::now() + LIFE);
        self.known = Some((credentials.clone(), until));
        Ok(credentials)
    }

    /// The first that there are, and whether they stay as they are.
    async fn base(&mut self) -> Result<(AwsCredentials, bool), DiscoveryError> {
        let config = &self.config;
        if !config.access_key.is_empty() && !config.secret_key.is_empty() {
            let secret = config.secret_key.clone();
            return Ok((AwsCredentials::new(config.access_key.clone(), secret), true));
        }
        let triple = |id: String, secret: String, token: Option<String>| {
            let mut found = AwsCredentials::new(id, Secret::new(secret));
            found.session_token = Secret::new(token.unwrap_or_default());
            found
        };
        if config.profile.is_empty()
            && let (Some(id), Some(secret)) =
                (self.set("AWS_ACCESS_KEY_ID"), self.set("AWS_SECRET_ACCESS_KEY"))
        {
            return Ok((triple(id, secret, self.set("AWS_SESSION_TOKEN")), true));
        }
        if let (Some(id), Some(secret)) = (
            self.profile_setting("aws_access_key_id"),
            self.profile_setting("aws_secret_access_key"),
        ) {
            // The file may be written anew.
            return Ok((triple(id, secret, self.profile_setting("aws_session_token")), false));
        }
        if let (Some(role), Some(file)) =
            (self.set("AWS_ROLE_ARN"), self.set("AWS_WEB_IDENTITY_TOKEN_FILE"))
        {
            return Ok((self.web_identity(&role, file.into()).await?, false));
        }
        Ok((self.own_role().await?, false))
    }

    /// A setting of the profile in the files of Amazon's tools.
    fn profile_setting(&self, key: &str) -> Option<String> {
        let home = || self.set("HOME").map(PathBuf::from);
        let profile = Some(self.config.profile.clone()).filter(|p| !p.is_empty());
        let profile = profile.or_else(|| self.set("AWS_PROFILE"));
        let profile = profile.unwrap_or_else(|| "default".to_owned());
        let place = |variable: &str, file: &str| {
            let set = self.set(variable).map(PathBuf::from);
            set.or_else(|| home().map(|home| home.join(".aws").join(file)))
        };
        let files = [
            (place("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile.clone()),
            (
                place("AWS_CONFIG_FILE", "config"),
                match profile.as_str() {
                    "default" => profile.clone(),
                    name => format!("profile {name}"),
                },
            ),
        ];
        files.into_iter().find_map(|(path, section)| {
            let text = std::fs::read_to_string(path?).ok()?;
            setting(&text, &section, key)
        })
    }

    async fn send(&self, request: Request) -> Result<Bytes, DiscoveryError> {
        let sent = self.client.send(request).await;
        let mut response = sent.map_err(|e| DiscoveryError::Http(e.to_string()))?;
        let body = response.body.whole(0).await;
        let body = body.map_err(|e| DiscoveryError::Http(e.to_string()))?;
        if !response.status.is_success() {
            let text = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or(&body));
            let what = format!("server returned HTTP status {}: {text}", response.status);
            return Err(DiscoveryError::Http(what));
        }
        Ok(body)
    }

    /// The machine's metadata, by the second version of its protocol.
    async fn ask_metadata(&self, path: &str) -> Result<String, DiscoveryError> {
        let seconds = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
        let mut request = Request::get(uri(&format!("{}/latest/api/token", self.metadata))?);
        request.method = Method::PUT;
        request.timeout = METADATA_TIMEOUT;
        request.headers.insert(seconds, HeaderValue::from_static("300"));
        let token = self.send(request).await?;
        let mut request = Request::get(uri(&format!("{}{path}", self.metadata))?);
        request.timeout = METADATA_TIMEOUT;
        let token = HeaderValue::from_bytes(&token).map_err(|e| fail(e.to_string()))?;
        request.headers.insert(HeaderName::from_static("x-aws-ec2-metadata-token"), token);
        let answer = self.send(request).await?;
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    }

    /// The role that the machine, or the container, has.
    async fn own_role(&self) -> Result<AwsCredentials, DiscoveryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Role {
            access_key_id: String,
            secret_access_key: String,
            #[serde(default)]
            token: String,
        }
        let relative = self.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let container = relative.map(|path| format!("http://169.254.170.2{path}"));
        let text = match container.or_else(|| self.set("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            Some(url) => {
                let mut request = Request::get(uri(&url)?);
                request.timeout = METADATA_TIMEOUT;
                let token_file = self.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
                let token = token_file.and_then(|path| std::fs::read_to_string(path).ok());
                if let Some(token) = token.or_else(|| self.set("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
                {
                    let value = HeaderValue::from_str(token.trim());
                    let value = value.map_err(|e| fail(e.to_string()))?;
                    request.headers.insert(http::header::AUTHORIZATION, value);
                }
                String::from_utf8_lossy(&self.send(request).await?).into_owned()
            }
            None => {
                let path = "/latest/meta-data/iam/security-credentials/";
                let role = self.ask_metadata(path).await.map_err(|e| {
                    fail(format!("no credentials for AWS in the configuration, the environment, the shared files or the machine's metadata: {e}"))
                })?;
                let role = role.lines().next().unwrap_or_default().to_owned();
                self.ask_metadata(&format!("{path}{role}")).await?
            }
        };
        let role: Role = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let mut found =
            AwsCredentials::new(role.access_key_id, Secret::new(role.secret_access_key));
        found.session_token = Secret::new(role.token);
        Ok(found)
    }

    /// A role by the token of a Kubernetes service account.
    async fn web_identity(
        &mut self,
        role: &str,
        file: PathBuf,
    ) -> Result<AwsCredentials, DiscoveryError> {
        let path = file.display().to_string();
        let token = std::fs::read_to_string(file)
            .map_err(|source| DiscoveryError::File { path, source })?;
        let session = self.set("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "prometheus".to_owned());
        let mut form = Query::default();
        for (name, value) in [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", &session),
            ("WebIdentityToken", token.trim()),
        ] {
            form.add(name, value);
        }
        self.sts(form, None).await
    }

    /// The role that the configuration names.
    async fn assume(&mut self, own: &AwsCredentials) -> Result<AwsCredentials, DiscoveryError> {
        let mut form = Query::default();
        let config = self.config.clone();
        for (name, value) in [
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", config.role_arn.as_str()),
            ("RoleSessionName", "prometheus"),
        ] {
            form.add(name, value);
        }
        if !config.external_id.is_empty() {
            form.add("ExternalId", &config.external_id);
        }
        self.sts(form, Some(own)).await
    }

    async fn sts(
        &mut self,
        form: Query,
        own: Option<&AwsCredentials>,
    ) -> Result<AwsCredentials, DiscoveryError> {
        let region = self.region().await?;
        let endpoint = self.set("AWS_ENDPOINT_URL_STS");
        let endpoint = endpoint.unwrap_or_else(|| super::endpoint("sts", &region));
        let mut request = form_request(&endpoint, &form)?;
        if let Some(own) = own {
            sign_v4(&mut request, own, &region, "sts", SystemTime::now())
                .map_err(|e| fail(e.to_string()))?;
        }
        let answer = self.send(request).await?;
        let answer = Element::parse(&String::from_utf8_lossy(&answer)).map_err(fail)?;
        let found = answer.find("Credentials").ok_or_else(|| fail("STS gave no credentials"))?;
        let text = |name| found.text(name).unwrap_or_default().to_owned();
        let secret = Secret::new(text("SecretAccessKey"));
        let mut credentials = AwsCredentials::new(text("AccessKeyId"), secret);
        credentials.session_token = Secret::new(text("SessionToken"));
        Ok(credentials)
    }
}

/// A request of the query protocol.
pub(super) fn form_request(endpoint: &str, form: &Query) -> Result<Request, DiscoveryError> {
    let body = form.on("").trim_start_matches('?').to_owned();
    let url = format!("{}/", endpoint.trim_end_matches('/'));
    let mut request = Request::post(uri(&url)?, Bytes::from(body));
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    request.headers.insert(CONTENT_TYPE, kind);
    Ok(request)
}

/// A setting of a section of an INI file.
fn setting(text: &str, section: &str, key: &str) -> Option<String> {
    let mut here = false;
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            here = name.trim() == section;
        } else if here
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_profiles() {
        let text = "[default]\naws_access_key_id = a\n# x = y\n[profile two]\n region=eu-west-1\n";
        assert_eq!(setting(text, "default", "aws_access_key_id").as_deref(), Some("a"));
        assert_eq!(setting(text, "profile two", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(setting(text, "default", "region"), None);
    }

    #[tokio::test]
    async fn what_is_configured_wins() {
        let variable = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "env".to_owned());
        let mut config = Ec2SdConfig::new("eu-west-1");
        config.access_key = "mine".to_owned();
        config.secret_key = Secret::new("s");
        let mut identity = Identity::new(&config, variable).unwrap();
        assert_eq!(identity.credentials().await.unwrap().access_key, "mine");
        assert_eq!(identity.region().await.unwrap(), "eu-west-1");
    }

    #[tokio::test]
    async fn the_machines_role() {
        let answers = crate::http_api::tests::Answers::start(|path| {
            let body = match path {
                "/latest/api/token" => "t0ken",
                "/latest/meta-data/placement/region" => "eu-north-1",
                "/latest/meta-data/iam/security-credentials/" => "role",
                "/latest/meta-data/iam/security-credentials/role" => {
                    r#"{"AccessKeyId":"AKID","SecretAccessKey":"s","Token":"session","Expiration":"x"}"#
                }
                _ => return Some((404, Vec::new(), String::new())),
            };
            Some((200, Vec::new(), body.to_owned()))
        });
        let mut identity = Identity::new(&Ec2SdConfig::new(""), |_| None).unwrap();
        identity.metadata = format!("http://{}", answers.address);
        assert_eq!(identity.region().await.unwrap(), "eu-north-1");
        let found = identity.credentials().await.unwrap();
        assert_eq!((found.access_key.as_str(), found.session_token.expose()), ("AKID", "session"));
        let last = answers.requests().pop().unwrap();
        assert!(last.contains("x-aws-ec2-metadata-token: t0ken"), "{last}");
    }
}
