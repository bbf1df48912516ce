//! From what discovery found to Alertmanagers. Source: `notifier/alertmanager.go`.

use std::sync::Arc;

use firesteel_config::AlertmanagerConfig;
use firesteel_discovery::{ADDRESS, TargetGroup};
use firesteel_model::{Labels, relabel};

const SCHEME: &str = "__scheme__";
const ALERTS_PATH: &str = "__alerts_path__";

/// The Alertmanagers of some target groups.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Their URLs, each once.
    pub(super) active: Vec<String>,
    /// Those that relabelling dropped.
    pub(super) dropped: Vec<String>,
}

/// The URLs of all Alertmanagers in `groups`. Those with an address that cannot be are left out,
/// with a line in the log.
pub(super) fn find(config: &AlertmanagerConfig, groups: &[Arc<TargetGroup>]) -> Found {
    let mut found = Found::default();
    let path = post_path(&config.path_prefix, config.api_version.name());
    let targets = groups.iter().flat_map(|group| group.targets.iter().map(move |t| (group, t)));
    for (group, target) in targets {
        // The target's own labels, the section's, then those of the group that the target has not.
        let mut builder = target.to_builder();
        builder.set(SCHEME, &config.scheme).set(ALERTS_PATH, &path);
        for (name, value) in group.labels.iter().filter(|(name, _)| !target.has(name)) {
            builder.set(name, value);
        }
        let before = builder.build();
        if !relabel::process(&config.relabel_configs, &mut builder) {
            found.dropped.push(url(&before));
            continue;
        }
        let labels = builder.build();
        let address = labels.get(ADDRESS).unwrap_or_default();
        if address.contains('/') {
            let error = format!("\"{address}\" is not a valid hostname");
            tracing::error!(error, "creating discovered Alertmanagers failed");
            continue;
        }
        let url = url(&labels);
        if !found.active.contains(&url) {
            found.active.push(url);
        }
    }
    found
}

/// The path that alerts are posted to: joined as Go's `path.Join` does.
fn post_path(prefix: &str, version: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let prefix: String = parts.iter().map(|part| format!("/{part}")).collect();
    format!("{prefix}/api/{version}/alerts")
}

fn url(labels: &Labels) -> String {
    let text = |name| labels.get(name).unwrap_or_default();
    let path = text(ALERTS_PATH);
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    format!("{}://{}{slash}{path}", text(SCHEME), text(ADDRESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_urls() {
        let group = TargetGroup::new("0", ["a:9093", "b:9093", "a:9093", "x/y"], Labels::empty());
        let mut config = AlertmanagerConfig::default();
        config.path_prefix = "//am/../alert/".to_owned();
        let found = find(&config, &[Arc::new(group)]);
        assert_eq!(
            found.active,
            ["http://a:9093/alert/api/v2/alerts", "http://b:9093/alert/api/v2/alerts"]
        );
    }
}
