//! Series of a real exporter: its pages, one after the other, as if scraped at our times.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use firesteel_exposition::{Entry, Format, Parser};
use firesteel_model::{Labels, Timestamp};

use crate::{
    Result,
    data::{Series, Value},
    http::Client,
};

/// An exporter that runs.
#[derive(Debug)]
pub struct Exporter {
    child: Child,
    address: SocketAddr,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exporter {
    /// Starts a program that takes `--web.listen-address`, and waits until it answers.
    ///
    /// # Errors
    /// It does not start, or does not answer within ten seconds.
    pub fn start(program: &Path) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(program)
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let exporter = Self { child, address };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if exporter.page().is_ok() {
                return Ok(exporter);
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Err(format!("{} does not answer", program.display()).into())
    }

    /// What it shows now.
    ///
    /// # Errors
    /// It does not answer.
    pub fn page(&self) -> Result<Vec<u8>> {
        match Client::new(self.address).send("GET", "/metrics", &[], &[])? {
            (200, page) => Ok(page),
            (status, _) => Err(format!("status {status}").into()),
        }
    }
}

/// The series of pages in the text format, one page per time, with the labels of their target.
///
/// # Errors
/// A page is not one.
pub fn series(
    pages: &[Vec<u8>],
    times: impl IntoIterator<Item = Timestamp>,
    target: &[(&str, &str)],
) -> Result<Vec<Series>> {
    let mut all = BTreeMap::<Labels, Vec<(Timestamp, Value)>>::new();
    for (page, t) in pages.iter().zip(times) {
        let mut parser = Parser::new(Format::PrometheusText, page);
        while let Some(entry) = parser.next_entry()? {
            let Entry::Series(series) = entry else { continue };
            let mut labels = series.to_labels()?.to_builder();
            for (name, value) in target {
                labels.set(name, value);
            }
            all.entry(labels.build()).or_default().push((t, Value::Float(series.value)));
        }
    }
    Ok(all.into_iter().map(|(labels, samples)| Series { labels, samples }).collect())
}
