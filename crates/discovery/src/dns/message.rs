//! Messages of the domain name system (RFC 1035, 2782, 6891), as far as discovery asks.
//!
//! Our own, because small codecs that could be had follow a pointer that points at itself for ever.

use std::net::{Ipv4Addr, Ipv6Addr};

use firesteel_config::DnsRecord;

/// The largest answer by UDP that we say we take.
const UDP_SIZE: u16 = 4096;
/// Answers whose records are looked at.
const MOST_ANSWERS: usize = 10_000;

/// The number of a kind of record.
const fn type_code(record: DnsRecord) -> u16 {
    match record {
        DnsRecord::A => 1,
        DnsRecord::Ns => 2,
        DnsRecord::Mx => 15,
        DnsRecord::Aaaa => 28,
        _ => 33,
    }
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    /// Names end in a dot.
    Ns(String),
    Mx(String),
    Srv {
        target: String,
        port: u16,
    },
    /// An alias, whose target's records follow.
    Cname,
    /// Anything else, by its number.
    Other(u16),
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: u16,
    pub(super) truncated: bool,
    /// 0 for success, 3 for a name that does not exist.
    pub(super) code: u8,
    pub(super) records: Vec<Record>,
}

/// A question for records of a name; `None` if the name cannot be asked for.
pub(super) fn question(id: u16, name: &str, record: DnsRecord, edns: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    let word = |out: &mut Vec<u8>, word: u16| out.extend_from_slice(&word.to_be_bytes());
    word(&mut out, id);
    // Recursion is desired.
    for field in [0x0100, 1, 0, 0, u16::from(edns)] {
        word(&mut out, field);
    }
    let start = out.len();
    for label in name.trim_end_matches('.').split('.').filter(|_| name != ".") {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))?;
        out.push(len);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() - start > 255 {
        return None;
    }
    word(&mut out, type_code(record));
    word(&mut out, 1);
    if edns {
        out.push(0);
        for field in [41, UDP_SIZE, 0, 0, 0] {
            word(&mut out, field);
        }
    }
    Some(out)
}

/// Reads an answer; `None` if it is not one.
pub(super) fn answer(message: &[u8]) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let id = reader.u16()?;
    let flags = reader.u16()?;
    if flags & 0x8000 == 0 {
        return None;
    }
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let truncated = flags & 0x0200 != 0;
    let mut records = Vec::new();
    for _ in 0..usize::from(answers).min(MOST_ANSWERS) {
        match reader.record() {
            Some(record) => records.push(record),
            // What is cut off is asked for again by TCP.
            None if truncated => break,
            None => return None,
        }
    }
    Some(Answer { id, truncated, code: (flags & 0xf) as u8, records })
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(|_| ())
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes)
    }

    /// A name with a dot at its end. Pointers lead backwards only, so they end.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut reader = Reader { message: self.message, at: self.at };
        let mut end = None;
        let mut least = self.at;
        loop {
            let len = *reader.take(1)?.first()?;
            match len {
                0 => break,
                1..=63 => {
                    push_label(&mut name, reader.take(len.into())?);
                    // Four characters stand for a byte at most.
                    if name.len() > 4 * 255 {
                        return None;
                    }
                }
                0xc0.. => {
                    let low = *reader.take(1)?.first()?;
                    let to = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                    end = end.or(Some(reader.at));
                    if to >= least {
                        return None;
                    }
                    least = to;
                    reader.at = to;
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(reader.at);
        if name.is_empty() {
            name.push('.');
        }
        Some(name)
    }

    fn record(&mut self) -> Option<Record> {
        self.name()?;
        let kind = self.u16()?;
        self.skip(6)?;
        let len = self.u16()?;
        let end = self.at.checked_add(len.into())?;
        if end > self.message.len() {
            return None;
        }
        let record = match kind {
            1 => Record::A(<[u8; 4]>::try_from(self.take(4)?).ok()?.into()),
            28 => Record::Aaaa(<[u8; 16]>::try_from(self.take(16)?).ok()?.into()),
            2 => Record::Ns(self.name()?),
            15 => {
                self.skip(2)?;
                Record::Mx(self.name()?)
            }
            33 => {
                self.skip(4)?;
                let port = self.u16()?;
                Record::Srv { target: self.name()?, port }
            }
            5 => Record::Cname,
            other => Record::Other(other),
        };
        self.at = end;
        Some(record)
    }
}

/// A label as zone files write it: what is not plain text is escaped.
fn push_label(name: &mut String, label: &[u8]) {
    use std::fmt::Write as _;
    for byte in label {
        match byte {
            b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                name.push('\\');
                name.push(char::from(*byte));
            }
            0x21..=0x7e => name.push(char::from(*byte)),
            byte => {
                let _ = write!(name, "\\{byte:03}");
            }
        }
    }
    name.push('.');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks() {
        let question = question(7, "a.bc.", DnsRecord::Srv, true).unwrap();
        assert_eq!(
            question,
            b"\0\x07\x01\0\0\x01\0\0\0\0\0\x01\x01a\x02bc\0\0\x21\0\x01\0\0\x29\x10\0\0\0\0\0\0\0"
        );
        assert!(super::question(7, &"a".repeat(64), DnsRecord::A, false).is_none());
        assert!(super::question(7, &"a.".repeat(140), DnsRecord::A, false).is_none());
        assert!(super::question(7, "a..b", DnsRecord::A, false).is_none());
    }

    /// An answer with the question `a.bc` and one record of this kind and data.
    fn message(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut message = b"\0\x07\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x02bc\0\0\x01\0\x01".to_vec();
        message.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
        message.extend_from_slice(data);
        message
    }

    #[test]
    fn reads_records() {
        let one = |kind, data: &[u8]| answer(&message(kind, data)).unwrap().records.remove(0);
        assert_eq!(one(1, &[10, 0, 0, 1]), Record::A([10, 0, 0, 1].into()));
        assert_eq!(one(2, b"\x02ns\xc0\x0c"), Record::Ns("ns.a.bc.".into()));
        assert_eq!(one(15, b"\0\x0a\x01m\xc0\x0e"), Record::Mx("m.bc.".into()));
        let srv = Record::Srv { target: "x\\.y.bc.".into(), port: 9100 };
        assert_eq!(one(33, b"\0\0\0\0\x23\x8c\x03x.y\xc0\x0e"), srv);
        assert_eq!(one(16, b"\x01t"), Record::Other(16));
    }

    #[test]
    fn refuses_pointers_that_do_not_lead_back() {
        // Where the record's data begins: 12 + 6 + 4 + 12.
        assert!(answer(&message(2, &[0xc0, 34])).is_none());
        assert!(answer(&message(2, &[0xc0, 36, 0, 0])).is_none());
        assert!(answer(&message(2, &[1, b'x', 0xc0, 34])).is_none());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = message(33, b"\0\0\0\0\x23\x8c\x01x\xc0\x0e");
        for len in 0..whole.len() {
            assert!(answer(&whole[..len]).is_none(), "{len}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let _ = answer(&damaged);
            }
        }
    }
}
