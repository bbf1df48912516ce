//! A control group with a memory limit.

use std::{fs, path::PathBuf};

/// Removed when dropped.
pub(crate) struct Group(PathBuf);

impl Group {
    /// `None` where it cannot be made. The name is the only one of this process.
    pub(crate) fn make(name: &str, limit: u64) -> Option<Self> {
        for (root, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group =
                Self(PathBuf::from(format!("{root}/firesteel-{}-{name}", std::process::id())));
            if fs::create_dir(&group.0).is_ok()
                && fs::write(group.0.join(file), limit.to_string()).is_ok()
            {
                return Some(group);
            }
        }
        None
    }

    /// Moves a process into it: whether that went well.
    pub(crate) fn add(&self, pid: u32) -> bool {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Bytes that a process holds besides what files are mapped.
pub(crate) fn anonymous_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) << 10
}
