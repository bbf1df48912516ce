//! `file_sd_configs`: lists of targets in files. Source: `discovery/file/file.go`.
//!
//! Files are looked at every five seconds, which also sees what a watch of the file system misses:
//! ConfigMaps behind links, network file systems. Only files that changed are read.

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    io::Read as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use firesteel_config::{FileSdConfig, OsFiles, ReadFiles as _};
use tokio_util::sync::CancellationToken;

use crate::{Discoverer, DiscoveryError, DiscoveryMetrics, TargetGroup, Updates, json};

/// The label that holds the file's path.
const META_FILEPATH: &str = "__meta_filepath";
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// Finds the targets that files list.
#[derive(Debug)]
pub struct FileDiscoverer {
    config: FileSdConfig,
    metrics: Arc<DiscoveryMetrics>,
}

impl FileDiscoverer {
    /// From one entry of `file_sd_configs`.
    #[must_use]
    pub fn new(config: FileSdConfig, metrics: Arc<DiscoveryMetrics>) -> Self {
        Self { config, metrics }
    }
}

/// What tells one version of a file from another.
type Stamp = (Option<SystemTime>, u64);

/// What is known about the files.
#[derive(Debug, Default)]
struct Known {
    /// Per path: its version when it was last read well, and how many groups it had.
    files: BTreeMap<PathBuf, (Stamp, usize)>,
}

impl Known {
    /// Reads what has changed, or everything; returns the groups that are new or gone, and what went
    /// wrong. A file that cannot be read keeps its groups.
    fn look(
        &mut self,
        patterns: &[PathBuf],
        everything: bool,
    ) -> (Vec<TargetGroup>, Vec<DiscoveryError>) {
        let (mut groups, mut errors) = (Vec::new(), Vec::new());
        let mut seen = BTreeMap::new();
        let paths = patterns.iter().flat_map(|pattern| match OsFiles.expand(pattern) {
            Ok(paths) => paths,
            Err(source) => {
                errors.push(DiscoveryError::File { path: pattern.display().to_string(), source });
                Vec::new()
            }
        });
        for path in paths.collect::<Vec<_>>() {
            let known = self.files.get(&path).copied();
            let stamp = stamp(&path);
            if let (Some((last, _)), false) = (known, everything)
                && stamp.is_some_and(|s| s == last)
            {
                seen.extend(known.map(|k| (path, k)));
                continue;
            }
            match read_target_groups(&path) {
                Ok(found) => {
                    let before = known.map_or(0, |(_, n)| n);
                    let name = path.to_string_lossy();
                    groups.extend(
                        (found.len()..before).map(|i| TargetGroup::gone(format!("{name}:{i}"))),
                    );
                    seen.insert(path, (stamp.unwrap_or((None, 0)), found.len()));
                    groups.extend(found);
                }
                Err(error) => {
                    errors.push(error);
                    // Remembered without a version, so that it is tried again.
                    seen.insert(path, ((None, u64::MAX), known.map_or(0, |(_, n)| n)));
                }
            }
        }
        for (path, (_, n)) in &self.files {
            if !seen.contains_key(path) {
                let name = path.to_string_lossy();
                groups.extend((0..*n).map(|i| TargetGroup::gone(format!("{name}:{i}"))));
            }
        }
        self.files = seen;
        (groups, errors)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}

/// Reads the target groups of a file, in JSON where its name ends so and else in YAML.
///
/// # Errors
/// The file cannot be read, is larger than 64 MiB, or holds something else.
pub fn read_target_groups(path: &Path) -> Result<Vec<TargetGroup>, DiscoveryError> {
    let name = path.to_string_lossy();
    let fail = |source| DiscoveryError::File { path: name.clone().into_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path)
        .map_err(fail)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(fail(std::io::Error::other(format!("larger than {MAX_BYTES} bytes"))));
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        return json::groups(&name, META_FILEPATH, &bytes);
    }
    let wrong = |reason| DiscoveryError::Groups { from: name.clone().into_owned(), reason };
    let text = String::from_utf8(bytes).map_err(|e| wrong(e.to_string()))?;
    let groups =
        firesteel_config::load_target_groups(&name, &text).map_err(|e| wrong(e.to_string()))?;
    let group = |(i, group): (usize, &firesteel_config::StaticGroup)| {
        let mut labels = group.labels.to_builder();
        labels.set(META_FILEPATH, &name);
        TargetGroup::new(format!("{name}:{i}"), &group.targets, labels.build())
    };
    Ok(groups.iter().enumerate().map(group).collect())
}

impl Discoverer for FileDiscoverer {
    fn run(
        self: Box<Self>,
        updates: Updates,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            tokio::select! {
                () = watch(*self, updates) => {}
                () = shutdown.cancelled() => {}
            }
        })
    }
}

async fn watch(discoverer: FileDiscoverer, updates: Updates) {
    let FileDiscoverer { config, metrics } = discoverer;
    let refresh = config.refresh_interval.max(Duration::from_secs(1));
    let patterns: Arc<[PathBuf]> = config.files.into();
    let mut ticks = tokio::time::interval(LOOK.min(refresh));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut known = Known::default();
    let mut read_all_at = tokio::time::Instant::now();
    let mut first = true;
    loop {
        let now = ticks.tick().await;
        let everything = now >= read_all_at;
        if everything {
            read_all_at = now + refresh;
        }
        let patterns = patterns.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let result = known.look(&patterns, everything);
            (known, result)
        });
        // The task can only fail by a panic, and then there is nothing left to go on with.
        let Ok((back, (groups, errors))) = looked.await else { return };
        known = back;
        for error in errors {
            metrics.file_read_errors.inc();
            tracing::warn!(%error, "cannot read targets; those found earlier stay");
        }
        if (first || !groups.is_empty()) && !updates.send(groups).await {
            return;
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(groups: &[TargetGroup]) -> Vec<(String, usize)> {
        let name = |g: &TargetGroup| g.source.rsplit('/').next().unwrap_or_default().to_owned();
        groups.iter().map(|g| (name(g), g.targets.len())).collect()
    }

    #[test]
    fn follows_files_as_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let patterns = [dir.path().join("*.yml"), dir.path().join("b.json")];
        let mut known = Known::default();
        fs::write(dir.path().join("a.yml"), "- targets: [a:1]\n- targets: [a:2, a:3]\n").unwrap();
        fs::write(dir.path().join("b.json"), r#"[{"targets":["b:1"]}]"#).unwrap();
        let (groups, errors) = known.look(&patterns, false);
        assert!(errors.is_empty(), "{errors:?}");
        let all = [("a.yml:0".into(), 1), ("a.yml:1".into(), 2), ("b.json:0".into(), 1)];
        assert_eq!(sources(&groups), all);
        assert!(groups[0].labels.get(META_FILEPATH).unwrap().ends_with("/a.yml"));
        assert!(known.look(&patterns, false).0.is_empty(), "nothing changed");
        assert_eq!(known.look(&patterns, true).0.len(), 3, "but everything can be read again");

        // Fewer groups, a bad file, a removed file.
        fs::write(dir.path().join("a.yml"), "- targets: [a:9]\n  labels: {x: y}\n").unwrap();
        assert_eq!(
            sources(&known.look(&patterns, false).0),
            [("a.yml:1".into(), 0), ("a.yml:0".into(), 1)]
        );
        fs::write(dir.path().join("a.yml"), "- target: [a:9]\n").unwrap();
        for _ in 0..2 {
            let (groups, errors) = known.look(&patterns, false);
            assert!(groups.is_empty() && errors.len() == 1, "{groups:?}");
            assert!(errors[0].to_string().contains("did you mean targets?"), "{}", errors[0]);
        }
        fs::remove_file(dir.path().join("a.yml")).unwrap();
        assert_eq!(sources(&known.look(&patterns, false).0), [("a.yml:0".into(), 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn sends_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, r#"[{"targets":["a:1"]}]"#).unwrap();
        let (updates, mut received) = crate::updates();
        let shutdown = CancellationToken::new();
        let discoverer = FileDiscoverer::new(FileSdConfig::new(vec![path.clone()]), Arc::default());
        let task = tokio::spawn(Box::new(discoverer).run(updates, shutdown.clone()));
        assert_eq!(sources(&received.recv().await.unwrap()), [("a.json:0".into(), 1)]);
        fs::write(&path, r#"[{"targets":["a:1","a:2"]}]"#).unwrap();
        assert_eq!(sources(&received.recv().await.unwrap()), [("a.json:0".into(), 2)]);
        shutdown.cancel();
        task.await.unwrap();
        assert!(received.recv().await.is_none());
    }
}
