//! The servers that are compared, and how each is started.

use std::{
    fs::{self, File},
    io::Result,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Firesteel,
    Prometheus,
    VictoriaMetrics,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Firesteel, Self::Prometheus, Self::VictoriaMetrics];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Firesteel => "firesteel",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoriametrics",
        }
    }

    /// The program where peers are usually unpacked.
    pub(crate) fn find(self) -> Option<PathBuf> {
        let file = match self {
            Self::Firesteel => return None,
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        };
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let folder = std::env::var_os("FIRESTEEL_PEERS")
            .map_or_else(|| home.join(".cache/firesteel-peers/usr/bin"), PathBuf::from);
        Some(folder.join(file)).filter(|p| p.exists())
    }
}

pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
}

/// A running server; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) data: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Starts the server in `folder`, scraping `targets`.
    pub(crate) fn start(
        &self,
        folder: &Path,
        targets: &[SocketAddr],
        interval_ms: u64,
    ) -> Result<Running> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let data = folder.join("data");
        let config = folder.join("prometheus.yml");
        let list: Vec<String> = targets.iter().map(|t| format!("\"{t}\"")).collect();
        fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: {interval_ms}ms\n  scrape_timeout: {interval_ms}ms\n\
                 scrape_configs:\n- job_name: bench\n  static_configs:\n  - targets: [{}]\n",
                list.join(", ")
            ),
        )?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Firesteel | Kind::Prometheus => command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--web.enable-remote-write-receiver"),
            Kind::VictoriaMetrics => command
                .arg(format!("-promscrape.config={}", config.display()))
                .arg(format!("-storageDataPath={}", data.display()))
                .arg(format!("-httpListenAddr={address}"))
                .arg("-search.latencyOffset=0s")
                .arg("-search.disableCache"),
        };
        let log = File::create(folder.join("log"))?;
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Running { child, address, data })
    }
}
