//! `dns_sd_configs`: targets from records of names. Source: `discovery/dns/dns.go`.

mod message;
mod resolver;

use std::sync::Arc;

use firesteel_config::{DnsRecord, DnsSdConfig};
use firesteel_model::Labels;
use tokio::task::JoinSet;

use crate::{
    ADDRESS, DiscoveryError, DiscoveryMetrics, Mechanisms, TargetGroup,
    labels::{MetaLabels, host_port},
    refresh::{Polled, Refresh},
};
use message::Record;
use resolver::Settings;

/// From one entry of `dns_sd_configs`.
pub(crate) fn discoverer(config: &DnsSdConfig, mechanisms: &Mechanisms) -> Polled<Dns> {
    let metrics = mechanisms.metrics.clone();
    let source = Dns {
        names: config.names.clone(),
        record: config.record,
        port: config.port,
        settings: Settings::File("/etc/resolv.conf".into()),
        metrics: metrics.clone(),
    };
    Polled { mechanism: "dns", interval: config.refresh_interval, metrics, source }
}

/// The targets that names stand for.
#[derive(Debug)]
pub(crate) struct Dns {
    names: Vec<String>,
    record: DnsRecord,
    port: u16,
    settings: Settings,
    metrics: Arc<DiscoveryMetrics>,
}

impl Refresh for Dns {
    /// A name that cannot be looked up keeps its targets.
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let mut lookups = JoinSet::new();
        for name in self.names.clone() {
            let (settings, record) = (self.settings.clone(), self.record);
            lookups.spawn(async move {
                let found = settings.lookup(&name, record).await;
                (name, found)
            });
        }
        let mut groups = Vec::with_capacity(self.names.len());
        while let Some(Ok((name, found))) = lookups.join_next().await {
            self.metrics.dns_lookups.inc();
            match found {
                Ok(records) => groups.push(self.group(&name, &records)),
                Err(err) => {
                    self.metrics.dns_lookup_failures.inc();
                    tracing::error!(discovery = "dns", %err, "Error refreshing DNS targets");
                }
            }
        }
        Ok(groups)
    }
}

impl Dns {
    fn group(&self, name: &str, records: &[Record]) -> TargetGroup {
        let targets = records.iter().filter_map(|record| self.target(name, record)).collect();
        TargetGroup { source: name.into(), targets, labels: Labels::empty() }
    }

    fn target(&self, name: &str, record: &Record) -> Option<Labels> {
        let mut labels = MetaLabels::new("__meta_dns_");
        labels.set("name", name);
        let bare = |name: &str| name.trim_end_matches('.').to_owned();
        let (host, port) = match record {
            Record::A(ip) => (ip.to_string(), self.port),
            Record::Aaaa(ip) => (ip.to_string(), self.port),
            Record::Ns(target) => {
                labels.set("ns_record_target", target);
                (bare(target), self.port)
            }
            Record::Mx(target) => {
                labels.set("mx_record_target", target);
                (bare(target), self.port)
            }
            Record::Srv { target, port } => {
                labels.set("srv_record_target", target);
                labels.set("srv_record_port", port.to_string());
                (bare(target), *port)
            }
            Record::Cname => return None,
            Record::Other(kind) => {
                tracing::warn!(discovery = "dns", name, kind, "Invalid record");
                return None;
            }
        };
        labels.set_plain(ADDRESS, host_port(&host, port));
        Some(labels.build())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, UdpSocket},
    };

    use super::{resolver::ResolvConf, *};

    /// What a zone has for a name and kind of record: records' data, or a code of failure.
    type Zone = fn(&str, u16) -> Result<Vec<(u16, Vec<u8>)>, u8>;

    fn wire(name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for label in name.split('.').filter(|l| !l.is_empty()) {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out
    }

    fn respond(zone: Zone, question: &[u8], tcp: bool) -> Vec<u8> {
        let (mut at, mut name) = (12, String::new());
        while question[at] != 0 {
            let len = usize::from(question[at]);
            name.push_str(std::str::from_utf8(&question[at + 1..at + 1 + len]).unwrap());
            name.push('.');
            at += 1 + len;
        }
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let (code, records) = match zone(&name, kind) {
            Ok(records) => (0, records),
            Err(code) => (code, Vec::new()),
        };
        // By UDP there is room for three records.
        let truncated = !tcp && records.len() > 3;
        let records = if truncated { Vec::new() } else { records };
        let mut out = question[..2].to_vec();
        out.extend_from_slice(&[0x81 | if truncated { 2 } else { 0 }, 0x80 | code, 0, 1, 0]);
        out.push(records.len() as u8);
        out.extend_from_slice(&[0, 0, 0, 0]);
        out.extend_from_slice(&question[12..at + 5]);
        for (kind, data) in records {
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(&data);
        }
        out
    }

    /// A name server, by UDP and TCP.
    async fn serve(zone: Zone) -> SocketAddr {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            loop {
                let (len, from) = udp.recv_from(&mut buffer).await.unwrap();
                // First something that is not the answer.
                udp.send_to(b"noise", from).await.unwrap();
                udp.send_to(&respond(zone, &buffer[..len], false), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let len = stream.read_u16().await.unwrap();
                let mut question = vec![0; len.into()];
                stream.read_exact(&mut question).await.unwrap();
                let answer = respond(zone, &question, true);
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        address
    }

    fn zone(name: &str, kind: u16) -> Result<Vec<(u16, Vec<u8>)>, u8> {
        let srv = |port: u16, target| {
            (33, [&[0, 1, 0, 1], &port.to_be_bytes()[..], &wire(target)].concat())
        };
        match (name, kind) {
            ("_m._tcp.lan.", 33) => Ok(vec![srv(9100, "pi.lan"), srv(9101, "box.lan")]),
            ("many.lan.", 1) => Ok((0..40).map(|i| (1, vec![10, 0, 0, i])).collect()),
            ("pi.lan.", 1) => Ok(vec![(5, wire("x.lan")), (1, vec![10, 0, 0, 7])]),
            ("pi.lan.", 28) => Ok(vec![(28, [&[0xfd][..], &[0; 14], &[7]].concat())]),
            ("lan.", 15) => Ok(vec![(15, [&[0, 5][..], &wire("mail.lan")].concat())]),
            ("lan.", 2) => Ok(vec![(2, wire("ns.lan"))]),
            ("empty.lan.", _) => Ok(Vec::new()),
            ("broken.lan.", _) => Err(2),
            _ => Err(3),
        }
    }

    async fn dns(names: &[&str], record: DnsRecord) -> Dns {
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        let config = DnsSdConfig::new(names, record, 80);
        let mut source = discoverer(&config, &Mechanisms::new("test")).source;
        let mut conf = ResolvConf::parse("search other lan\n");
        conf.servers.push(serve(|_, _| Err(5)).await);
        conf.servers.push(serve(zone).await);
        source.settings = Settings::Fixed(conf);
        source
    }

    async fn targets(names: &[&str], record: DnsRecord) -> Vec<String> {
        let groups = dns(names, record).await.refresh().await.unwrap();
        groups.iter().flat_map(|g| &g.targets).map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn every_kind_of_record() {
        assert_eq!(
            targets(&["_m._tcp.lan"], DnsRecord::Srv).await[0],
            r#"{__address__="pi.lan:9100", __meta_dns_name="_m._tcp.lan", __meta_dns_srv_record_port="9100", __meta_dns_srv_record_target="pi.lan."}"#
        );
        assert_eq!(
            targets(&["pi.lan"], DnsRecord::A).await,
            [r#"{__address__="10.0.0.7:80", __meta_dns_name="pi.lan"}"#]
        );
        // By the search path, after the first domain of it does not have the name.
        assert_eq!(
            targets(&["pi"], DnsRecord::Aaaa).await,
            [r#"{__address__="[fd00::7]:80", __meta_dns_name="pi"}"#]
        );
        assert_eq!(
            targets(&["lan."], DnsRecord::Mx).await,
            [
                r#"{__address__="mail.lan:80", __meta_dns_mx_record_target="mail.lan.", __meta_dns_name="lan."}"#
            ]
        );
        assert_eq!(
            targets(&["lan."], DnsRecord::Ns).await,
            [
                r#"{__address__="ns.lan:80", __meta_dns_name="lan.", __meta_dns_ns_record_target="ns.lan."}"#
            ]
        );
    }

    #[tokio::test]
    async fn long_answers_come_by_tcp() {
        assert_eq!(targets(&["many.lan"], DnsRecord::A).await.len(), 40);
    }

    #[tokio::test]
    async fn what_fails_keeps_its_targets() {
        let mut dns = dns(&["nowhere", "broken.lan.", "empty.lan."], DnsRecord::A).await;
        let groups = dns.refresh().await.unwrap();
        let mut sources: Vec<_> = groups.iter().map(|g| &*g.source).collect();
        sources.sort_unstable();
        assert_eq!(sources, ["empty.lan.", "nowhere"], "both are known to have none");
        assert_eq!(dns.metrics.dns_lookup_failures.value(), 1);
        assert_eq!(dns.metrics.dns_lookups.value(), 3);
    }
}
