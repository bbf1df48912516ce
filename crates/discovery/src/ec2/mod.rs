//! `ec2_sd_configs`: instances at Amazon. Source: `discovery/aws/ec2.go`.

mod credentials;
mod xml;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use firesteel_config::Ec2SdConfig;
use firesteel_model::Labels;
use firesteel_net::{HttpClient, Limits, sign_v4};

use crate::{
    ADDRESS, DiscoveryError, Mechanisms, TargetGroup,
    http_api::{MAX_BYTES, Query},
    labels::{MetaLabels, host_port},
    refresh::{Polled, Refresh},
};
use credentials::{Identity, form_request};
use xml::Element;

/// The version of the API.
const VERSION: &str = "2016-11-15";
/// Pages of an answer.
const MOST_PAGES: usize = 10_000;

/// From one entry of `ec2_sd_configs`.
///
/// # Errors
/// The HTTP client cannot be made.
pub(crate) fn discoverer(
    config: &Ec2SdConfig,
    mechanisms: &Mechanisms,
) -> Result<Polled<Ec2>, DiscoveryError> {
    let http = HttpClient::new(&config.http);
    let source = Ec2 {
        client: http.map_err(|e| DiscoveryError::Http(e.to_string()))?,
        identity: Identity::new(config, |name| std::env::var(name).ok())?,
        config: config.clone(),
        zones: None,
    };
    let metrics = mechanisms.metrics.clone();
    Ok(Polled { mechanism: "ec2", interval: config.refresh_interval, metrics, source })
}

/// Where a service is in a region.
fn endpoint(service: &str, region: &str) -> String {
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://{service}.{region}.amazonaws.com{china}")
}

/// The instances of a region.
#[derive(Debug)]
pub(crate) struct Ec2 {
    client: HttpClient,
    identity: Identity,
    config: Ec2SdConfig,
    /// The ids of availability zones by their names, once they are known.
    zones: Option<BTreeMap<String, String>>,
}

impl Refresh for Ec2 {
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let region = self.identity.region().await?;
        if self.zones.is_none() {
            match self.describe_zones(&region).await {
                Ok(zones) => self.zones = Some(zones),
                Err(err) => {
                    tracing::debug!(discovery = "ec2", %err, "Unable to describe availability zones");
                }
            }
        }
        let targets = self.describe_instances(&region).await;
        let targets = targets.inspect_err(|_| self.identity.forget())?;
        Ok(vec![TargetGroup { source: region.into(), targets, labels: Labels::empty() }])
    }
}

impl Ec2 {
    async fn ask(&mut self, region: &str, form: &Query) -> Result<Element, DiscoveryError> {
        let credentials = self.identity.credentials().await?;
        let endpoint = match &*self.config.endpoint {
            "" => endpoint("ec2", region),
            given if given.contains("://") => given.to_owned(),
            given => format!("https://{given}"),
        };
        let mut request = form_request(&endpoint, form)?;
        request.limits = Limits::body(MAX_BYTES);
        request.timeout = Duration::from_secs(60);
        let fail = DiscoveryError::Http;
        sign_v4(&mut request, &credentials, region, "ec2", SystemTime::now())
            .map_err(|e| fail(e.to_string()))?;
        let sent = self.client.send(request).await;
        let mut response = sent.map_err(|e| fail(e.to_string()))?;
        let body = response.body.whole(0).await.map_err(|e| fail(e.to_string()))?;
        let (status, from) = (response.status, endpoint);
        let parsed = tokio::task::spawn_blocking(move || {
            let text = String::from_utf8(body.into()).map_err(|e| e.to_string())?;
            Element::parse(&text)
        });
        let parsed = parsed.await.unwrap_or_else(|e| Err(e.to_string()));
        if !status.is_success() {
            let said = parsed.ok();
            let error = said.as_ref().and_then(|root| root.find("Error"));
            let text = |name| error.and_then(|e| e.text(name)).unwrap_or_default();
            return Err(fail(format!(
                "could not describe instances: api error {}: {} (HTTP status {status})",
                text("Code"),
                text("Message")
            )));
        }
        parsed.map_err(|reason| DiscoveryError::Groups { from, reason })
    }

    async fn describe_zones(
        &mut self,
        region: &str,
    ) -> Result<BTreeMap<String, String>, DiscoveryError> {
        let mut form = Query::default();
        form.add("Action", "DescribeAvailabilityZones");
        form.add("Version", VERSION);
        let answer = self.ask(region, &form).await?;
        let zone = |item: &Element| {
            Some((item.text("zoneName")?.to_owned(), item.text("zoneId")?.to_owned()))
        };
        Ok(answer.items("availabilityZoneInfo").filter_map(zone).collect())
    }

    async fn describe_instances(&mut self, region: &str) -> Result<Vec<Labels>, DiscoveryError> {
        let mut targets = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut form = Query::default();
            form.add("Action", "DescribeInstances");
            form.add("Version", VERSION);
            for (i, filter) in self.config.filters.iter().enumerate() {
                form.add(&format!("Filter.{}.Name", i + 1), &filter.name);
                for (j, value) in filter.values.iter().enumerate() {
                    form.add(&format!("Filter.{}.Value.{}", i + 1, j + 1), value);
                }
            }
            if let Some(token) = &next {
                form.add("NextToken", token);
            }
            let answer = self.ask(region, &form).await?;
            for reservation in answer.items("reservationSet") {
                let owner = reservation.text("ownerId");
                let instances = reservation.items("instancesSet");
                targets.extend(instances.filter_map(|i| self.target(i, owner, region)));
            }
            match answer.text("nextToken") {
                Some(token) => next = Some(token.to_owned()),
                None => break,
            }
        }
        Ok(targets)
    }

    fn target(&self, instance: &Element, owner: Option<&str>, region: &str) -> Option<Labels> {
        let ipv6 = Ipv6::of(instance);
        let private = instance.text("privateIpAddress");
        let host = private.or(ipv6.default)?;
        let text = |name| instance.text(name).unwrap_or_default();
        let within = |outer, inner| instance.get(outer).and_then(|e| e.text(inner));
        let zone = within("placement", "availabilityZone").unwrap_or_default();
        let zone_id = self.zones.as_ref().and_then(|zones| zones.get(zone));
        let mut labels = MetaLabels::new("__meta_ec2_");
        for (name, value) in [
            ("instance_id", text("instanceId")),
            ("region", region),
            ("owner_id", owner.unwrap_or_default()),
            ("default_ipv6_address", ipv6.default.unwrap_or_default()),
            ("private_ip", private.unwrap_or_default()),
            ("private_dns_name", text("privateDnsName")),
            ("platform", text("platform")),
            ("ami", text("imageId")),
            ("availability_zone", zone),
            ("availability_zone_id", zone_id.map_or("", |id| id)),
            ("instance_state", within("instanceState", "name").unwrap_or_default()),
            ("instance_type", text("instanceType")),
            ("instance_lifecycle", text("instanceLifecycle")),
            ("architecture", text("architecture")),
        ] {
            labels.set(name, value);
        }
        if let Some(public) = instance.text("ipAddress") {
            labels.set("public_ip", public);
            labels.set("public_dns_name", text("dnsName"));
        }
        labels.set("primary_ipv6_addresses", joined(&ipv6.primary));
        labels.set("ipv6_addresses", joined(&ipv6.all));
        if let Some(vpc) = instance.text("vpcId") {
            labels.set("vpc_id", vpc);
            labels.set("primary_subnet_id", text("subnetId"));
            let mut subnets: Vec<&str> = Vec::new();
            for subnet in interfaces(instance).filter_map(|i| i.text("subnetId")) {
                if !subnets.contains(&subnet) {
                    subnets.push(subnet);
                }
            }
            labels.set("subnet_id", format!(",{},", subnets.join(",")));
        }
        for tag in instance.items("tagSet") {
            if let (Some(key), Some(value)) = (tag.text("key"), tag.text("value")) {
                labels.set_free("tag_", key, value);
            }
        }
        labels.set_plain(ADDRESS, host_port(host, self.config.port));
        Some(labels.build())
    }
}

fn interfaces(instance: &Element) -> impl Iterator<Item = &Element> {
    instance.items("networkInterfaceSet")
}

/// A list surrounded by what separates it; empty where the list is.
fn joined(list: &[&str]) -> String {
    if list.is_empty() { String::new() } else { format!(",{},", list.join(",")) }
}

/// The IPv6 addresses of an instance.
#[derive(Default)]
struct Ipv6<'a> {
    /// The first primary one, else the first.
    default: Option<&'a str>,
    /// The primary ones by the index of their interface; empty where one has none.
    primary: Vec<&'a str>,
    all: Vec<&'a str>,
}

/// Interfaces of an instance, at most.
const MOST_INTERFACES: usize = 256;

impl<'a> Ipv6<'a> {
    fn of(instance: &'a Element) -> Self {
        let mut found = Self::default();
        if instance.text("vpcId").is_none() {
            return found;
        }
        for interface in interfaces(instance).filter(|i| i.text("subnetId").is_some()) {
            let index = interface.get("attachment").and_then(|a| a.text("deviceIndex"));
            let index: usize = index.and_then(|text| text.parse().ok()).unwrap_or(0);
            for address in interface.items("ipv6AddressesSet") {
                let Some(ip) = address.text("ipv6Address") else { continue };
                found.all.push(ip);
                if address.text("isPrimaryIpv6") == Some("true") && index < MOST_INTERFACES {
                    if found.primary.len() <= index {
                        found.primary.resize(index + 1, "");
                    }
                    if let Some(slot) = found.primary.get_mut(index) {
                        *slot = ip;
                    }
                }
            }
        }
        let any = found.primary.iter().chain(&found.all).find(|ip| !ip.is_empty());
        found.default = any.copied();
        found
    }
}

#[cfg(test)]
mod tests {
    use firesteel_config::{SdFilter, Secret};

    use super::*;
    use crate::http_api::tests::Answers;

    const ZONES: &str = "<DescribeAvailabilityZonesResponse><availabilityZoneInfo><item><zoneName>eu-west-1a</zoneName><zoneId>euw1-az3</zoneId></item></availabilityZoneInfo></DescribeAvailabilityZonesResponse>";

    const FIRST: &str = "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><reservationSet><item>
      <ownerId>123</ownerId><instancesSet><item>
        <instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
        <privateDnsName>ip-10-0-0-1.internal</privateDnsName><dnsName>ec2-1.example.org</dnsName>
        <instanceType>t4g.small</instanceType><placement><availabilityZone>eu-west-1a</availabilityZone></placement>
        <subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>203.0.113.1</ipAddress>
        <architecture>arm64</architecture><platform>windows</platform><instanceLifecycle>spot</instanceLifecycle>
        <networkInterfaceSet>
          <item><subnetId>subnet-1</subnetId><attachment><deviceIndex>0</deviceIndex></attachment><ipv6AddressesSet><item><ipv6Address>2001:db8::1</ipv6Address></item></ipv6AddressesSet></item>
          <item><subnetId>subnet-2</subnetId><attachment><deviceIndex>1</deviceIndex></attachment><ipv6AddressesSet><item><ipv6Address>2001:db8::2</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item></ipv6AddressesSet></item>
          <item><subnetId>subnet-1</subnetId></item>
        </networkInterfaceSet>
        <tagSet><item><key>Name</key><value>web &amp; co</value></item><item><key>aws:x/y</key><value>z</value></item><item><key>none</key><value/></item></tagSet>
      </item><item><instanceId>i-2</instanceId></item></instancesSet></item></reservationSet><nextToken>more</nextToken></DescribeInstancesResponse>";

    const SECOND: &str = "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-3</instanceId><privateIpAddress>10.0.0.3</privateIpAddress></item></instancesSet></item></reservationSet></DescribeInstancesResponse>";

    #[tokio::test]
    async fn instances_of_all_pages() {
        let pages = std::sync::Mutex::new(vec![SECOND, FIRST, ZONES]);
        let answers = Answers::start(move |_| {
            let page = pages.lock().unwrap().pop();
            let error = "<Response><Errors><Error><Code>AuthFailure</Code><Message>no</Message></Error></Errors></Response>";
            Some(match page {
                Some(page) => (200, Vec::new(), page.to_owned()),
                None => (401, Vec::new(), error.to_owned()),
            })
        });
        let mut config = Ec2SdConfig::new("eu-west-1");
        config.endpoint = format!("http://{}", answers.address);
        config.access_key = "AKID".to_owned();
        config.secret_key = Secret::new("secret");
        let values = vec!["prod".to_owned()];
        config.filters = vec![SdFilter { name: "tag:env".to_owned(), values }];
        let mut source = discoverer(&config, &Mechanisms::new("test")).unwrap().source;
        let groups = source.refresh().await.unwrap();
        assert_eq!((&*groups[0].source, groups[0].targets.len()), ("eu-west-1", 2));
        let labels = |l: &Labels| -> Vec<String> {
            l.iter().map(|(n, v)| format!("{}={v}", n.trim_start_matches("__meta_ec2_"))).collect()
        };
        assert_eq!(
            labels(&groups[0].targets[0]),
            [
                "__address__=10.0.0.1:80",
                "ami=ami-1",
                "architecture=arm64",
                "availability_zone=eu-west-1a",
                "availability_zone_id=euw1-az3",
                "default_ipv6_address=2001:db8::2",
                "instance_id=i-1",
                "instance_lifecycle=spot",
                "instance_state=running",
                "instance_type=t4g.small",
                "ipv6_addresses=,2001:db8::1,2001:db8::2,",
                "owner_id=123",
                "platform=windows",
                "primary_ipv6_addresses=,,2001:db8::2,",
                "primary_subnet_id=subnet-1",
                "private_dns_name=ip-10-0-0-1.internal",
                "private_ip=10.0.0.1",
                "public_dns_name=ec2-1.example.org",
                "public_ip=203.0.113.1",
                "region=eu-west-1",
                "subnet_id=,subnet-1,subnet-2,",
                "tag_Name=web & co",
                "tag_aws_x_y=z",
                "vpc_id=vpc-1",
            ]
        );
        let requests = answers.requests();
        assert!(
            requests[1].contains("Filter.1.Name=tag%3Aenv&Filter.1.Value.1=prod"),
            "{requests:?}"
        );
        assert!(requests[1].contains("Credential=AKID/"), "{requests:?}");
        assert!(requests[2].contains("NextToken=more"), "{requests:?}");
        let refused = source.refresh().await.unwrap_err().to_string();
        assert!(refused.contains("AuthFailure: no"), "{refused}");
    }
}
