//! The memory that the process may use: the tightest limit of its cgroups and of the machine.

use std::{fs, path::Path};

/// Bytes that the process may use, `None` where nothing can be read (not Linux).
#[must_use]
pub(crate) fn limit() -> Option<u64> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok();
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine_memory(&text));
    let tightest = cgroup.and_then(|text| {
        cgroup_files(&text)
            .iter()
            .filter_map(|file| fs::read_to_string(Path::new(file)).ok())
            .filter_map(|text| text.trim().parse::<u64>().ok())
            .min()
    });
    match (tightest, machine) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limit files of all groups from the process' own up to the root, both versions of cgroups.
fn cgroup_files(cgroup: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            c if c.split(',').any(|c| c == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut group = path.trim_end_matches('/');
        loop {
            files.push(format!("{root}{group}/{file}"));
            let Some((parent, _)) = group.rsplit_once('/') else { break };
            group = parent;
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_walked_to_the_root() {
        let files = cgroup_files("0::/a/b\n5:cpu,memory:/c\n6:pids:/d\n");
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory/c/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert_eq!(machine_memory("MemTotal:        1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
    }
}
