//! Pages in every format, read with every choice.

use firesteel_exposition::{
    Entry, Families, Format, Parser, ParserOptions, check_openmetrics, encode_protobuf,
};
use firesteel_model::{
    MetricType,
    metrics::{Families as Own, Point},
    wire::{Writer, put_varint},
};

const NODE: &[u8] = include_bytes!("../../crates/exposition/testdata/node_exporter.prom");
const EVERYTHING: &[u8] = include_bytes!("../../crates/exposition/testdata/everything.om");

/// Reads a page to its end, with all that can be asked of its entries.
fn read(format: Format, page: &[u8], options: ParserOptions) {
    let mut parser = Parser::with_options(format, page, options);
    let mut entries = 0_usize;
    while let Ok(Some(entry)) = parser.next_entry() {
        let series = match &entry {
            Entry::Series(series) => series,
            Entry::Histogram(sample) => {
                let _ = sample.histogram.to_float().validate();
                &sample.series
            }
            _ => {
                let _ = parser.entry_text().len();
                continue;
            }
        };
        // What stands for a series leads back to the same labels.
        if let Ok(labels) = series.to_labels() {
            let back = format.read_series(series.raw, series.kind(), |s| s.to_labels());
            if let Ok(Ok(back)) = back {
                assert_eq!(back, labels);
            }
        }
        let _ = series.exemplar().map(|e| e.to_exemplar());
        entries += 1;
    }
    // An entry takes bytes; one metric of protobuf may have a few entries.
    assert!(entries <= page.len() * 4 + 4);
}

fn with_every_choice(format: Format, page: &[u8]) {
    for choice in 0..16 {
        let options = ParserOptions {
            ignore_native_histograms: choice & 1 > 0,
            keep_classic_histograms: choice & 2 > 0,
            convert_classic_histograms: choice & 4 > 0,
            start_timestamps: choice & 8 > 0,
        };
        let matters = match format {
            Format::PrometheusText => choice & 9 == 0,
            Format::OpenMetrics => choice & 1 == 0,
            _ => choice & 8 == 0,
        };
        if matters {
            read(format, page, options);
        }
    }
    let _ = Families::parse(format, page);
}

/// Prometheus text.
pub fn text(page: &[u8]) {
    with_every_choice(Format::PrometheusText, page);
}

/// OpenMetrics, as Prometheus reads it and as its specification has it.
pub fn openmetrics(page: &[u8]) {
    with_every_choice(Format::OpenMetrics, page);
    if check_openmetrics(page).is_ok() {
        Families::parse(Format::OpenMetrics, page).unwrap();
    }
}

/// Protobuf.
pub fn protobuf(page: &[u8]) {
    with_every_choice(Format::Protobuf, page);
}

fn lines(page: &[u8], from: usize) -> Vec<u8> {
    page.split_inclusive(|b| *b == b'\n').skip(from).take(30).flatten().copied().collect()
}

pub(crate) fn text_seeds() -> Vec<Vec<u8>> {
    let histogram = b"# TYPE h histogram\nh_bucket{a=\"\\\"\",le=\"1\"} 1\nh_bucket{a=\"\\\"\",le=\"+Inf\"} 2.5 12\nh_sum 3\nh_count 2\n{\"a.b\",\"c d\"=\"e\"} 1e9\n";
    let mut all = vec![histogram.to_vec()];
    all.extend((0..1500).step_by(150).map(|from| lines(NODE, from)));
    all
}

pub(crate) fn openmetrics_seeds() -> Vec<Vec<u8>> {
    let created = b"# TYPE c counter\nc_total{a=\"b\"} 1 # {id=\"x\"} 1 2.5\nc_created{a=\"b\"} 1.5\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {} 3\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\nh_created 2\n# EOF\n";
    vec![EVERYTHING.to_vec(), created.to_vec()]
}

pub(crate) fn protobuf_seeds() -> Vec<Vec<u8>> {
    let mut own = Own::new();
    own.add("c_total", MetricType::Counter, "A counter.", &[("a", "b")], Point::Value(3.0));
    let buckets = vec![(0.5, 1), (1.0, 1), (f64::INFINITY, 2)];
    let point = Point::Histogram { buckets, count: 2, sum: 1.25 };
    own.add("h", MetricType::Histogram, "A histogram.", &[("a", "b")], point);
    let point = Point::Summary { quantiles: vec![(0.9, 7.0)], count: 1, sum: 7.0 };
    own.add("s", MetricType::Summary, "", &[], point);
    let mut plain = Vec::new();
    encode_protobuf(&own.into_sorted(), &mut plain);

    let mut message = Vec::new();
    let mut w = Writer::new(&mut message);
    w.bytes(1, b"n");
    w.varint(3, 4);
    for float in [false, true] {
        w.message(4, |w| w.message(7, |w| native(w, float)));
    }
    let mut page = plain.clone();
    put_varint(&mut page, message.len() as u64);
    page.extend_from_slice(&message);
    vec![plain, page]
}

fn native(w: &mut Writer<'_>, float: bool) {
    w.varint(1, 3);
    w.double(2, 1.5);
    w.sint64(5, 2);
    w.double(6, 1e-9);
    for (offset, length) in [(-3, 2), (1, 1)] {
        w.message(12, |w| {
            w.sint64(1, offset);
            w.varint(2, length);
        });
    }
    if float {
        w.double(4, 3.5);
        w.packed_doubles(14, &[1.0, 0.0, 2.5]);
    } else {
        w.packed_varints(13, [2, 1, 4]);
    }
    w.message(3, |w| {
        w.varint(1, 1);
        w.double(2, 0.5);
    });
    w.message(16, |w| {
        w.double(2, 1.0);
        w.message(3, |w| w.varint(1, 7));
    });
}
