//! Servers that are started for a comparison.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Result, http::Client};

/// Where the real Prometheus usually is: `$FIRESTEEL_PEERS`, else a folder of the user's cache.
#[must_use]
pub fn prometheus() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let folder = std::env::var_os("FIRESTEEL_PEERS")
        .map_or_else(|| home.join(".cache/firesteel-peers/usr/bin"), PathBuf::from);
    Some(folder.join("prometheus")).filter(|p| p.exists())
}

/// The features of Prometheus 3.5 that 3.14 has without being asked, and the experimental functions.
pub const FEATURES: [&str; 3] =
    ["native-histograms", "promql-experimental-functions", "promql-duration-expr"];

/// A running server with an empty database; killed when dropped, its folder removed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server that takes Prometheus' flags, and waits until it is ready.
    ///
    /// # Errors
    /// It does not start, or is not ready after half a minute.
    pub fn start(program: &Path, features: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver");
        if !features.is_empty() {
            command.arg(format!("--enable-feature={}", features.join(",")));
        }
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, address, _folder: folder };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Ok((200, _)) = Client::new(address).send("GET", "/-/ready", &[], &[]) {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{} ended: {status}", program.display()).into());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Err(format!("{} is not ready", program.display()).into())
    }
}
