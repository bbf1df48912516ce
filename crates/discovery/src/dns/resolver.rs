//! Asks name servers the way `resolv.conf` says. Source: `discovery/dns/dns.go`, `miekg/dns`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use firesteel_config::DnsRecord;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::message::{self, Answer, Record};
use crate::DiscoveryError;

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A name that does not exist.
const NAME_ERROR: u8 = 3;

/// Whom to ask, and for which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// A name with more labels than this is asked for as it stands first.
    ndots: usize,
}

/// Where that is written.
#[derive(Debug, Clone)]
pub(super) enum Settings {
    /// A file, read again each time.
    File(PathBuf),
    #[cfg(test)]
    Fixed(ResolvConf),
}

impl ResolvConf {
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|ip| ip.parse::<IpAddr>().ok());
                    found.servers.extend(server.map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("domain") => {
                    found.search = words.next().map(str::to_owned).into_iter().collect()
                }
                Some("search") => found.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots =
                        words.filter_map(|w| w.strip_prefix("ndots:")?.parse().ok()).next_back();
                    found.ndots = ndots.unwrap_or(found.ndots).min(15);
                }
                _ => {}
            }
        }
        found
    }

    /// The names to ask for, in order, each with a dot at its end.
    fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let itself = format!("{name}.");
        let below = |domain: &String| format!("{name}.{}.", domain.trim_end_matches('.'));
        let mut names: Vec<String> = self.search.iter().map(below).collect();
        if name.split('.').count() > self.ndots {
            names.insert(0, itself);
        } else {
            names.push(itself);
        }
        names
    }
}

impl Settings {
    async fn load(&self) -> Result<ResolvConf, DiscoveryError> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
                let text = read.unwrap_or_else(|e| Err(std::io::Error::other(e)));
                let fail = |e| DiscoveryError::Dns(format!("could not load resolv.conf: {e}"));
                text.map(|text| ResolvConf::parse(&text)).map_err(fail)
            }
            #[cfg(test)]
            Self::Fixed(conf) => Ok(conf.clone()),
        }
    }

    /// The records of a name. None, if every server says of every form of it that it does not exist.
    ///
    /// # Errors
    /// For at least one form of the name no server has an answer: nothing can be said.
    pub(super) async fn lookup(
        &self,
        name: &str,
        record: DnsRecord,
    ) -> Result<Vec<Record>, DiscoveryError> {
        let conf = self.load().await?;
        let mut all_valid = true;
        for name in conf.names(name) {
            match ask_any(&conf.servers, &name, record).await {
                Some(answer) if answer.code == 0 => return Ok(answer.records),
                Some(_) => {}
                None => all_valid = false,
            }
        }
        if all_valid {
            return Ok(Vec::new());
        }
        Err(DiscoveryError::Dns(format!(
            "could not resolve {name:?}: all servers responded with errors to at least one search domain"
        )))
    }
}

/// The first answer of use.
async fn ask_any(servers: &[SocketAddr], name: &str, record: DnsRecord) -> Option<Answer> {
    for server in servers {
        match ask(*server, name, record).await {
            Ok(answer) if matches!(answer.code, 0 | NAME_ERROR) => return Some(answer),
            Ok(_) => {}
            Err(err) => tracing::warn!(%server, name, %err, "DNS resolution failed"),
        }
    }
    None
}

/// Asks by UDP, and by TCP where the answer is too long.
async fn ask(server: SocketAddr, name: &str, record: DnsRecord) -> std::io::Result<Answer> {
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let answer = timeout(PATIENCE, by_udp(server, name, record)).await.map_err(late)??;
    if !answer.truncated {
        return Ok(answer);
    }
    let answer = timeout(PATIENCE, by_tcp(server, name, record)).await.map_err(late)??;
    if answer.truncated {
        let what = "got truncated message on TCP (64kiB limit exceeded?)";
        return Err(std::io::Error::other(what));
    }
    Ok(answer)
}

fn invalid(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

async fn by_udp(server: SocketAddr, name: &str, record: DnsRecord) -> std::io::Result<Answer> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let id = fastrand::u16(..);
    let question =
        message::question(id, name, record, true).ok_or_else(|| invalid("not a domain name"))?;
    // A connected socket takes nothing from others.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        let len = socket.recv(&mut buffer).await?;
        // Something else than the answer: one that came late, or a forgery.
        let answer = buffer.get(..len).and_then(message::answer);
        if let Some(answer) = answer.filter(|answer| answer.id == id) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, name: &str, record: DnsRecord) -> std::io::Result<Answer> {
    let id = fastrand::u16(..);
    let question =
        message::question(id, name, record, false).ok_or_else(|| invalid("not a domain name"))?;
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(question.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&len.to_be_bytes()[..], &question].concat()).await?;
    let len = stream.read_u16().await?;
    let mut buffer = vec![0; len.into()];
    stream.read_exact(&mut buffer).await?;
    let answer = message::answer(&buffer).filter(|answer| answer.id == id);
    answer.ok_or_else(|| invalid("the answer is not one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resolv_conf() {
        let conf = ResolvConf::parse(
            "# by hand\nnameserver 10.43.0.10\nnameserver fd00::1\nnameserver fe80::1%eth0\nsearch default.svc.cluster.local svc.cluster.local.\noptions ndots:2 timeout:1\n",
        );
        assert_eq!(conf.servers.len(), 2);
        assert_eq!(
            conf.names("db.default"),
            [
                "db.default.default.svc.cluster.local.",
                "db.default.svc.cluster.local.",
                "db.default."
            ]
        );
        assert_eq!(conf.names("a.b.c")[0], "a.b.c.");
        assert_eq!(conf.names("a."), ["a."]);
    }
}
