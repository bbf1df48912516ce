//! The memory that the process may use: the tightest limit of its cgroups, of the machine and of
//! `GOMEMLIMIT`, with which Prometheus is told to use less.

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
    let told = std::env::var("GOMEMLIMIT").ok().and_then(|text| go_bytes(&text));
    [tightest, machine, told].into_iter().flatten().min()
}

/// A number of bytes as Go reads `GOMEMLIMIT`: `512MiB`; `None` for `off` and what it refuses.
fn go_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
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
        assert_eq!(go_bytes("512MiB"), Some(512 << 20));
        assert_eq!(go_bytes("1000"), Some(1000));
        assert_eq!([go_bytes("off"), go_bytes("1MB"), go_bytes(""), go_bytes("0")], [None; 4]);
        assert_eq!(machine_memory("MemTotal:        1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
    }
}
