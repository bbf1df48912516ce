//! `process_*` metrics, read from `/proc` as Go's client does.

use std::fs;

use firesteel_model::metrics::{Collect, Families};

/// Metrics of the running process. On systems without `/proc` there are none.
#[derive(Debug, Default)]
pub(crate) struct ProcessMetrics;

impl Collect for ProcessMetrics {
    fn collect(&self, out: &mut Families) {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|s| Stat::parse(&s))
        {
            stat.collect(out);
        }
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            let open = fds.count() as f64;
            out.gauge("process_open_fds", "Number of open file descriptors.", open);
        }
        if let Some(max) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            let help = "Maximum number of open file descriptors.";
            out.gauge("process_max_fds", help, max as f64);
        }
    }
}

/// The fields of `/proc/self/stat` that are shown.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The command's name may hold anything, a parenthesis too; fields count from its last one.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    fn collect(&self, out: &mut Families) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let cpu = self.cpu_ticks as f64 / ticks;
        out.counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            cpu,
        );
        let resident = self.resident_pages as f64 * rustix::param::page_size() as f64;
        out.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", resident);
        let size = self.virtual_bytes as f64;
        out.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", size);
        out.gauge("process_threads", "Number of threads of the process.", self.threads as f64);
        if let Some(boot) = boot_time() {
            let start = boot + self.start_ticks as f64 / ticks;
            let help = "Start time of the process since unix epoch in seconds.";
            out.gauge("process_start_time_seconds", help, start);
        }
    }
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}

/// Threads of the process, 0 where unknown.
#[must_use]
pub(crate) fn threads() -> i64 {
    let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|s| Stat::parse(&s));
    stat.map_or(0, |s| i64::try_from(s.threads).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_count_from_the_last_parenthesis() {
        let text = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 50 0 0 20 0 7 0 999 4096 3 0";
        let expected = Stat {
            cpu_ticks: 150,
            threads: 7,
            start_ticks: 999,
            virtual_bytes: 4096,
            resident_pages: 3,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("garbage"), None);
    }
}
