//! Signatures of requests to Amazon's services, version 4. Source: Amazon's documentation of the
//! signing process.

use std::time::SystemTime;

use firesteel_config::Secret;
use http::{HeaderName, HeaderValue, Uri, header::AUTHORIZATION};
use ring::{digest, hmac};

use crate::{NetErrorKind, Request, auth::sensitive};

/// Who signs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AwsCredentials {
    /// The key's id.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// What goes with keys that expire; empty for others.
    pub session_token: Secret,
}

impl AwsCredentials {
    /// A key that does not expire.
    pub fn new(access_key: impl Into<String>, secret_key: Secret) -> Self {
        Self { access_key: access_key.into(), secret_key, session_token: Secret::default() }
    }
}

/// Signs a request: adds `Authorization`, `X-Amz-Date` and what else belongs to them. The body, the
/// URL and the headers that are there must not change after that. Signatures are good for minutes.
///
/// # Errors
/// The URL has no host, or the session token cannot be a header.
pub fn sign_v4(
    request: &mut Request,
    credentials: &AwsCredentials,
    region: &str,
    service: &str,
    now: SystemTime,
) -> Result<(), NetErrorKind> {
    let (date, time) = amz_time(now);
    let body_hash = hex(digest::digest(&digest::SHA256, &request.body).as_ref());
    let header = |name: &'static str, value: &str| {
        Ok::<_, NetErrorKind>((HeaderName::from_static(name), sensitive(&AUTHORIZATION, value)?))
    };
    let mut add = vec![header("x-amz-date", &time)?, header("x-amz-content-sha256", &body_hash)?];
    if !credentials.session_token.is_empty() {
        add.push(header("x-amz-security-token", credentials.session_token.expose())?);
    }
    request.headers.extend(add);
    let host = request.uri.authority().ok_or(NetErrorKind::Url("it has no host"))?;
    let mut signed: Vec<(String, String)> = vec![("host".to_owned(), host.as_str().to_owned())];
    let ours = |name: &str| name.starts_with("x-amz-") || name == "content-type";
    for (name, value) in request.headers.iter().filter(|(name, _)| ours(name.as_str())) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        signed.push((name.as_str().to_owned(), value));
    }
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let (path, query) = canonical(&request.uri);
    let canonical =
        format!("{}\n{path}\n{query}\n{headers}\n{names}\n{body_hash}", request.method.as_str());
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashed}");
    let first = format!("AWS4{}", credentials.secret_key.expose());
    let key = [date.as_str(), region, service, "aws4_request"]
        .iter()
        .fold(first.into_bytes(), |key, part| mac(&key, part.as_bytes()));
    let signature = hex(&mac(&key, to_sign.as_bytes()));
    let id = &credentials.access_key;
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    let value: HeaderValue = sensitive(&AUTHORIZATION, &value)?;
    request.headers.insert(AUTHORIZATION, value);
    Ok(())
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The path escaped once more, as all services but S3 want it, and the query with its pairs sorted.
fn canonical(uri: &Uri) -> (String, String) {
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let path = path.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    });
    let mut pairs: Vec<(&str, &str)> = uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (path, pairs.join("&"))
}

/// A moment as `20150830` and `20150830T123600Z`.
fn amz_time(now: SystemTime) -> (String, String) {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days of 400 years, counted from a first of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    (date.clone(), format!("{date}T{hour:02}{minute:02}{second:02}Z"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn writes_times() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(amz_time(at(seconds)).1, expected);
        }
    }

    /// The key of Amazon's own example in its documentation.
    #[test]
    fn derives_the_documented_key() {
        let key = ["20150830", "us-east-1", "iam", "aws4_request"]
            .iter()
            .fold(b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec(), |key, part| {
                mac(&key, part.as_bytes())
            });
        assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn signs() {
        let uri = "https://ec2.eu-west-1.amazonaws.com/?b=2&a=1".parse().unwrap();
        let mut request = Request::get(uri);
        let mut credentials = AwsCredentials::new("AKID", Secret::new("secret"));
        credentials.session_token = Secret::new("session");
        sign_v4(&mut request, &credentials, "eu-west-1", "ec2", at(1_440_938_160)).unwrap();
        let value = request.headers[AUTHORIZATION].to_str().unwrap();
        assert!(
            value.starts_with(
                "AWS4-HMAC-SHA256 Credential=AKID/20150830/eu-west-1/ec2/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature="
            ),
            "{value}"
        );
        assert!(request.headers[AUTHORIZATION].is_sensitive());
        assert_eq!(canonical(&request.uri), ("/".to_owned(), "a=1&b=2".to_owned()));
    }
}
