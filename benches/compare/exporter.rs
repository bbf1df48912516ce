//! The targets: plain HTTP on loopback, pages made ahead so that they cost the servers nothing.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Pages that are served in turn.
const PAGES: u64 = 16;

pub(crate) struct Exporter {
    pub(crate) addresses: Vec<SocketAddr>,
    scrapes: Arc<AtomicU64>,
}

impl Exporter {
    /// Serves `targets` targets with `series` series each, until the process ends.
    pub(crate) fn start(targets: usize, series: usize) -> std::io::Result<Self> {
        let pages: Arc<Vec<String>> =
            Arc::new((0..PAGES).map(|n| firesteel_benches::page(series, n)).collect());
        let scrapes = Arc::new(AtomicU64::new(0));
        let mut addresses = Vec::new();
        for _ in 0..targets {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            addresses.push(listener.local_addr()?);
            let (pages, scrapes) = (Arc::clone(&pages), Arc::clone(&scrapes));
            thread::spawn(move || {
                for (served, stream) in (1..).zip(listener.incoming().flatten()) {
                    let (pages, scrapes) = (Arc::clone(&pages), Arc::clone(&scrapes));
                    thread::spawn(move || serve(&stream, &pages, &scrapes, served));
                }
            });
        }
        Ok(Self { addresses, scrapes })
    }

    /// Scrapes that were answered.
    pub(crate) fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::Relaxed)
    }
}

/// Answers on one connection until the client closes it.
fn serve(stream: &TcpStream, pages: &[String], scrapes: &AtomicU64, mut n: u64) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.trim().is_empty() => {}
            Ok(_) => continue,
        }
        let page = &pages[(n % PAGES) as usize];
        n += 1;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            page.len()
        );
        let mut out = stream;
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(page.as_bytes())).is_err() {
            return;
        }
        scrapes.fetch_add(1, Ordering::Relaxed);
    }
}
