//! Connections through a SOCKS proxy, version 5. Source: RFC 1928, RFC 1929.

use std::{io, net::IpAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::NetErrorKind;

/// Who we are for a proxy.
#[derive(Debug, Clone)]
pub(crate) struct SocksUser {
    pub(crate) name: String,
    pub(crate) password: firesteel_config::Secret,
}

fn fail(what: impl std::fmt::Display) -> NetErrorKind {
    NetErrorKind::Connect(format!("socks connect: {what}"))
}

/// Asks a proxy, over a connection to it, for one to a host; names are looked up by the proxy.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
    port: u16,
    user: Option<&SocksUser>,
) -> Result<(), NetErrorKind> {
    let broken = |e: io::Error| fail(e);
    let methods: &[u8] = if user.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    stream.write_all(methods).await.map_err(broken)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(broken)?;
    match (chosen, user) {
        ([5, 0], _) => {}
        ([5, 2], Some(user)) => {
            let mut message = vec![1];
            for text in [user.name.as_str(), user.password.expose()] {
                message
                    .push(u8::try_from(text.len()).map_err(|_| fail("invalid username/password"))?);
                message.extend_from_slice(text.as_bytes());
            }
            stream.write_all(&message).await.map_err(broken)?;
            let mut status = [0; 2];
            stream.read_exact(&mut status).await.map_err(broken)?;
            if status[1] != 0 {
                return Err(fail("username/password authentication failed"));
            }
        }
        _ => return Err(fail("no acceptable authentication methods")),
    }
    let mut request = vec![5, 1, 0];
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            request.push(3);
            request.push(u8::try_from(bare.len()).map_err(|_| fail("FQDN too long"))?);
            request.extend_from_slice(bare.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await.map_err(broken)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(broken)?;
    if head[1] != 0 {
        return Err(fail(reply(head[1])));
    }
    let rest = match head[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(broken)?),
        other => return Err(fail(format!("unknown address type {other}"))),
    };
    let mut bound = vec![0; rest + 2];
    stream.read_exact(&mut bound).await.map_err(broken)?;
    Ok(())
}

/// Go's words for a refusal.
fn reply(code: u8) -> String {
    match code {
        1 => "general SOCKS server failure".to_owned(),
        2 => "connection not allowed by ruleset".to_owned(),
        3 => "network unreachable".to_owned(),
        4 => "host unreachable".to_owned(),
        5 => "connection refused".to_owned(),
        6 => "TTL expired".to_owned(),
        7 => "command not supported".to_owned(),
        8 => "address type not supported".to_owned(),
        code => format!("unknown code: {code}"),
    }
}

#[cfg(test)]
mod tests {
    use firesteel_config::Secret;
    use tokio::io::duplex;

    use super::*;

    async fn talk(answers: &[u8], user: Option<SocksUser>) -> (Result<(), String>, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(1024);
        theirs.write_all(answers).await.unwrap();
        let result = connect(&mut ours, "pi.lan", 9100, user.as_ref()).await;
        drop(ours);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        (result.map_err(|e| e.to_string()), sent)
    }

    #[tokio::test]
    async fn asks_by_name() {
        let (result, sent) = talk(b"\x05\x00\x05\x00\x00\x01\x7f\0\0\x01\x00\x50", None).await;
        assert_eq!(result, Ok(()));
        assert_eq!(sent, b"\x05\x01\x00\x05\x01\x00\x03\x06pi.lan\x23\x8c");
    }

    #[tokio::test]
    async fn says_who_it_is() {
        let user = SocksUser { name: "me".to_owned(), password: Secret::new("p") };
        let answers = b"\x05\x02\x01\x00\x05\x05\x00\x01";
        let (result, sent) = talk(answers, Some(user)).await;
        assert_eq!(result.unwrap_err(), "socks connect: connection refused");
        assert!(sent.starts_with(b"\x05\x02\x00\x02\x01\x02me\x01p\x05"), "{sent:?}");
    }
}
