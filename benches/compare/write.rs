//! Samples sent by remote write: a function of numbers, so that every receiver gets the same.

use std::{
    io::{Error, Read as _, Result, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::Duration,
};

use firesteel_model::wire::Writer;

/// Milliseconds between the samples of a series.
pub(crate) const STEP: i64 = 15_000;
/// Metrics among which the series are divided.
pub(crate) const FAMILIES: usize = 100;
/// Series per request.
const SERIES: usize = 2000;
/// Samples of a series per request.
const SAMPLES: usize = 10;

/// Series of nine labels with samples at every [`STEP`].
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) series: usize,
    pub(crate) samples: usize,
    /// Time of the first sample, milliseconds.
    pub(crate) start: i64,
}

impl Load {
    /// Sends everything by remote write.
    pub(crate) fn send(self, receiver: SocketAddr, path: &str) -> Result<()> {
        send(self.series, self.samples, receiver, path, |out, i, samples| {
            self.series(out, i, samples);
        })
    }

    fn series(self, out: &mut Writer<'_>, i: usize, samples: Range<usize>) {
        let (family, n) = (i % FAMILIES, i / FAMILIES);
        let labels: [(&str, String); 9] = [
            ("__name__", format!("bench_family_{family:04}")),
            ("cluster", "eu-west-1".to_owned()),
            ("container", format!("app-{}", n % 5)),
            ("instance", format!("10.0.{}.{}:8080", n / 200 % 256, n % 200)),
            ("job", "bench".to_owned()),
            ("method", ["GET", "PUT", "POST"][n % 3].to_owned()),
            ("namespace", format!("team-{}", n % 20)),
            ("pod", format!("web-{}-{}", n % 20, n)),
            ("status", ["200", "404", "500"][n / 3 % 3].to_owned()),
        ];
        for (name, value) in &labels {
            out.message(1, |label| {
                label.bytes(1, name.as_bytes());
                label.bytes(2, value.as_bytes());
            });
        }
        for s in samples {
            out.message(2, |sample| {
                sample.double(1, value(i, s));
                sample.int64(2, self.start + s as i64 * STEP);
            });
        }
    }
}

/// Sends series over two connections that have half of them each; `write` writes some samples of
/// one into a message.
pub(crate) fn send(
    series: usize,
    samples: usize,
    receiver: SocketAddr,
    path: &str,
    write: impl Fn(&mut Writer<'_>, usize, Range<usize>) + Sync,
) -> Result<()> {
    let halves = [0..series / 2, series / 2..series];
    let send_part = |part: Range<usize>| {
        let mut connection = Connection::open(receiver)?;
        let (mut body, mut packed) = (Vec::new(), Vec::new());
        for first in (0..samples).step_by(SAMPLES) {
            let samples = first..(first + SAMPLES).min(samples);
            for from in part.clone().step_by(SERIES) {
                body.clear();
                let mut out = Writer::new(&mut body);
                for i in from..(from + SERIES).min(part.end) {
                    out.message(1, |series| write(series, i, samples.clone()));
                }
                packed.resize(snap::raw::max_compress_len(body.len()), 0);
                let len = snap::raw::Encoder::new().compress(&body, &mut packed);
                let len = len.map_err(Error::other)?;
                connection.post(path, packed.get(..len).unwrap_or_default())?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let senders = halves.map(|half| scope.spawn(|| send_part(half)));
        let failed = || Error::other("a sender panicked");
        senders.into_iter().try_for_each(|s| s.join().map_err(|_| failed())?)
    })
}

/// Two of four series are counters, one is a gauge, one is constant.
fn value(i: usize, s: usize) -> f64 {
    let noise = |s: usize| {
        let mut x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (s as u64) << 17;
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 40) as f64 / f64::from(1_u32 << 24)
    };
    match i / FAMILIES % 4 {
        0 => (s as f64).mul_add(40.0, (noise(s) * 30.0).floor()),
        1 => (s / 4 * 3 + i % 50) as f64,
        2 => ((noise(s) * 2000.0).floor() + 10_000.0) / 100.0,
        _ => 1.0,
    }
}

/// A connection that is kept.
struct Connection {
    stream: TcpStream,
    address: SocketAddr,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address })
    }

    fn post(&mut self, path: &str, body: &[u8]) -> Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Encoding: snappy\r\n\
             Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            let n = self.stream.read(&mut part)?;
            answer.extend_from_slice(part.get(..n).unwrap_or_default());
            let text = String::from_utf8_lossy(&answer);
            let done = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|l| {
                    let (name, value) = l.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse().ok())?
                });
                head.starts_with("HTTP/1.1 204") || length.is_some_and(|n: usize| body.len() >= n)
            });
            if done || n == 0 {
                let ok = text.starts_with("HTTP/1.1 204") || text.starts_with("HTTP/1.1 200");
                return if ok { Ok(()) } else { Err(Error::other(text.into_owned())) };
            }
        }
    }
}
