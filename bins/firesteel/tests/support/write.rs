//! A remote write sender (version 1.0) with data that any receiver can be given twice.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;

use firesteel_model::wire::Writer;

use crate::support::request;

/// Milliseconds between the steps of a [`Load`].
pub(crate) const STEP: i64 = 15_000;

/// Which samples of which series are sent: a function of numbers alone.
pub(crate) struct Load {
    /// Series of floats.
    pub(crate) floats: usize,
    /// Series of native histograms: in turn of integers, of floats and with custom buckets.
    pub(crate) histograms: usize,
    /// Time of the first step, in milliseconds.
    pub(crate) start: i64,
    /// Every this many steps some series are sent late; 0 for never.
    pub(crate) late_every: usize,
    /// Steps of which none is late.
    pub(crate) not_late: std::ops::Range<usize>,
}

/// How many steps a late sample is behind.
const LATE_BY: usize = 40;

impl Load {
    /// The request of some consecutive steps, compressed.
    pub(crate) fn request(&self, steps: std::ops::Range<usize>) -> Vec<u8> {
        let mut body = Vec::new();
        let mut out = Writer::new(&mut body);
        for i in 0..self.floats {
            out.message(1, |series| self.float_series(series, i, steps.clone()));
        }
        for i in 0..self.histograms {
            out.message(1, |series| self.histogram_series(series, i, steps.clone()));
        }
        self.metadata(&mut out);
        snap::raw::Encoder::new().compress_vec(&body).unwrap()
    }

    /// Time of a step.
    pub(crate) fn time(&self, step: usize) -> i64 {
        self.start + step as i64 * STEP
    }

    /// The steps of a series that are sent in this range of steps, in the order of sending.
    fn sent(&self, i: usize, steps: std::ops::Range<usize>) -> Vec<usize> {
        let late = |step: usize| {
            self.late_every > 0
                && step >= 1
                && !self.not_late.contains(&step)
                && i.is_multiple_of(10)
                && (step + i).is_multiple_of(self.late_every)
        };
        let mut all = Vec::new();
        for step in steps {
            if step >= LATE_BY && late(step - LATE_BY) {
                all.push(step - LATE_BY);
            }
            if !late(step) {
                all.push(step);
            }
        }
        // The order within a series of one request is that of the times.
        all.sort_unstable();
        all
    }

    fn float_series(&self, out: &mut Writer<'_>, i: usize, steps: std::ops::Range<usize>) {
        let pod = format!("web-{}", i / 20);
        let instance = format!("10.0.{}.{}:9100", i / 50, i % 50);
        let name = ["requests_total", "temperature", "up_like", "bytes_total"][i % 4];
        labels(
            out,
            &[
                ("__name__", name),
                ("instance", &instance),
                ("job", "load"),
                ("pod", &pod),
                ("n", &i.to_string()),
            ],
        );
        for step in self.sent(i, steps) {
            // Each tenth series pauses now and then, as a target that is gone does.
            if i % 10 == 3 && (step / 20) % 7 == 5 {
                if step % 20 == 0 {
                    sample(out, f64::from_bits(0x7ff0_0000_0000_0002), self.time(step));
                }
                continue;
            }
            let (s, n) = (step as f64, i as f64);
            let value = match i % 4 {
                // A counter that starts anew every 500 steps.
                0 => ((step % 500) as f64).mul_add(3.0 + (i % 7) as f64, n).floor(),
                1 => 20.0 + n / 10.0 + (s / 40.0).sin() * 5.0,
                2 => f64::from(u8::from(step % 50 != 7)),
                _ => (s * 1234.5 + n) * 1.1,
            };
            sample(out, value, self.time(step));
        }
    }

    fn histogram_series(&self, out: &mut Writer<'_>, i: usize, steps: std::ops::Range<usize>) {
        let name = ["latency_seconds", "weighted_seconds", "sizes"][i % 3];
        labels(out, &[("__name__", name), ("job", "load"), ("n", &i.to_string())]);
        let sent = self.sent(i + self.floats, steps);
        if let Some(&last) = sent.last() {
            out.message(3, |e| {
                labels(e, &[("trace_id", &format!("{i:04x}{last:08x}"))]);
                e.double(2, last as f64 / 100.0);
                e.int64(3, self.time(last));
            });
        }
        for step in sent {
            out.message(4, |h| histogram(h, i, step, self.time(step)));
        }
    }

    fn metadata(&self, out: &mut Writer<'_>) {
        out.message(3, |m| {
            m.varint(1, 1);
            m.bytes(2, b"requests_total");
            m.bytes(4, b"Requests served.");
        });
    }
}

fn labels(out: &mut Writer<'_>, pairs: &[(&str, &str)]) {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    for (name, value) in pairs {
        out.message(1, |label| {
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
        });
    }
}

fn sample(out: &mut Writer<'_>, value: f64, time: i64) {
    out.message(2, |s| {
        s.double(1, value);
        s.int64(2, time);
    });
}

/// A histogram whose buckets grow in number and count, and start anew every 300 steps.
fn histogram(out: &mut Writer<'_>, i: usize, step: usize, time: i64) {
    let age = step % 300 + 1;
    let buckets = 3 + (age / 60).min(4);
    let counts: Vec<u64> = (0..buckets).map(|b| (age * (b + 1 + i % 5)) as u64).collect();
    let (zero, custom) = ((age % 9) as u64, i % 3 == 2);
    let total = counts.iter().sum::<u64>() + if custom { 0 } else { zero };
    let float = i % 3 == 1;
    if float {
        out.double(2, total as f64 * 0.5);
    } else {
        out.varint(1, total);
    }
    out.double(3, total as f64 * 0.37);
    out.sint64(4, if custom { -53 } else { 2 });
    if !custom {
        out.double(5, 0.001);
        if float {
            out.double(7, zero as f64 * 0.5);
        } else {
            out.varint(6, zero);
        }
    }
    out.message(11, |span| {
        span.sint64(1, 0);
        span.varint(2, 2);
    });
    out.message(11, |span| {
        span.sint64(1, if custom { 0 } else { 3 });
        span.varint(2, buckets as u64 - 2);
    });
    if float {
        out.packed_doubles(13, &counts.iter().map(|&c| c as f64 * 0.5).collect::<Vec<_>>());
    } else {
        let mut last = 0;
        let zigzag = |d: i64| (d << 1 ^ d >> 63).cast_unsigned();
        let deltas = counts.iter().map(|&c| {
            let delta = c as i64 - last;
            last = c as i64;
            zigzag(delta)
        });
        out.packed_varints(12, deltas.collect::<Vec<_>>());
    }
    out.int64(15, time);
    if custom {
        out.packed_doubles(16, &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0]);
    }
}

/// Sends a request; the status and what the receiver said.
pub(crate) fn send(address: SocketAddr, body: &[u8]) -> (u16, String) {
    let headers = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", "application/x-protobuf"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ];
    let (status, answer) = request(address, "POST", "/api/v1/write", &headers, body).unwrap();
    (status, String::from_utf8_lossy(&answer).into_owned())
}
