//! Round trips, damage, and the specification's examples.

use super::*;
use proptest::prelude::*;

fn read_all(reader: &mut Reader<'_>) -> Result<usize, WireError> {
    let mut count = 0;
    while reader.field()?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[test]
fn encodes_as_the_specification_says() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.varint(1, 150);
    writer.bytes(2, b"testing");
    writer.message(3, |w| w.varint(1, 150));
    writer.sint64(4, -2);
    writer.int64(5, -1);
    writer.packed_varints(6, [3, 270, 86942]);
    writer.packed_varints(7, []);
    #[rustfmt::skip]
    let expected = [
        0x08, 0x96, 0x01,
        0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g',
        0x1a, 0x03, 0x08, 0x96, 0x01,
        0x20, 0x03,
        0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
        0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05,
    ];
    assert_eq!(out, expected);
}

#[test]
fn errors_say_where_in_the_outermost_message() {
    let mut out = vec![0x08, 0x00];
    Writer::new(&mut out).message(2, |w| w.message(1, |w| w.bytes(1, b"\xff")));
    let mut reader = Reader::new(&out);
    reader.field().unwrap();
    let mut outer = reader.field().unwrap().unwrap().message().unwrap();
    let mut inner = outer.field().unwrap().unwrap().message().unwrap();
    let field = inner.field().unwrap().unwrap();
    assert_eq!(field.string(), Err(WireError { problem: WireProblem::Utf8, offset: 6 }));
    let found = field.varint().unwrap_err();
    assert_eq!(found.to_string(), "unexpected wire type Bytes at byte 6");

    for (bytes, problem, offset) in [
        (&[0x0a, 0x05, 1][..], WireProblem::Truncated, 2),
        (&[0x08], WireProblem::Truncated, 1),
        (&[0x80], WireProblem::Truncated, 0),
        (&[0x09, 1, 2, 3], WireProblem::Truncated, 1),
        (
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            WireProblem::Truncated,
            11,
        ),
        (
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            WireProblem::VarintOverflow,
            1,
        ),
        (&[0x08, 0, 0x02], WireProblem::FieldNumber, 2),
        (&[0x0b], WireProblem::WireType(3), 0),
        (&[0x0e], WireProblem::WireType(6), 0),
    ] {
        let error = read_all(&mut Reader::new(bytes)).unwrap_err();
        assert_eq!(error, WireError { problem, offset }, "{bytes:?}");
    }
}

#[derive(Clone, Debug)]
enum Value {
    Varint(u64),
    Sint(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Message(Vec<u8>),
    Varints(Vec<u64>),
    Doubles(Vec<f64>),
}

fn any_value() -> impl Strategy<Value = Value> {
    let finite = prop::num::f64::NORMAL | prop::num::f64::ZERO;
    prop_oneof![
        any::<u64>().prop_map(Value::Varint),
        any::<i64>().prop_map(Value::Sint),
        finite.prop_map(Value::Double),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Message),
        prop::collection::vec(any::<u64>(), 1..40).prop_map(Value::Varints),
        prop::collection::vec(finite, 1..40).prop_map(Value::Doubles),
    ]
}

proptest! {
    #[test]
    fn reads_what_it_writes(fields in prop::collection::vec((1..1_u32 << 29, any_value()), 0..8)) {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        for (number, value) in &fields {
            match value {
                Value::Varint(v) => w.varint(*number, *v),
                Value::Sint(v) => w.sint64(*number, *v),
                Value::Double(v) => w.double(*number, *v),
                Value::Bytes(v) => w.bytes(*number, v),
                Value::Message(v) => w.message(*number, |w| w.bytes(1, v)),
                Value::Varints(v) => w.packed_varints(*number, v.iter().copied()),
                Value::Doubles(v) => w.packed_doubles(*number, v),
            }
        }
        let mut reader = Reader::new(&out);
        for (number, value) in &fields {
            let field = reader.field().unwrap().unwrap();
            prop_assert_eq!(field.number, *number);
            match value {
                Value::Varint(v) => prop_assert_eq!(field.varint(), Ok(*v)),
                Value::Sint(v) => prop_assert_eq!(field.sint64(), Ok(*v)),
                Value::Double(v) => prop_assert_eq!(field.double(), Ok(*v)),
                Value::Bytes(v) => prop_assert_eq!(field.bytes(), Ok(v.as_slice())),
                Value::Message(v) => {
                    let inner = field.message().unwrap().field().unwrap().unwrap();
                    prop_assert_eq!(inner.bytes(), Ok(v.as_slice()));
                }
                Value::Varints(v) => {
                    let packed = field.packed(WireType::Varint).unwrap();
                    prop_assert!(packed.max_len() >= v.len());
                    prop_assert_eq!(&packed.collect::<Result<Vec<_>, _>>().unwrap(), v);
                }
                Value::Doubles(v) => {
                    let packed = field.packed(WireType::Fixed64).unwrap();
                    prop_assert_eq!(packed.max_len(), v.len());
                    let read: Vec<_> = packed.map(|v| f64::from_bits(v.unwrap())).collect();
                    prop_assert_eq!(&read, v);
                }
            }
        }
        prop_assert_eq!(reader.field(), Ok(None));
        // Cut anywhere, it is an error or a shorter message, never a panic.
        for len in 0..out.len() {
            let read = read_all(&mut Reader::new(&out[..len]));
            prop_assert!(read.is_err() || read.is_ok_and(|n| n < fields.len()));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut reader = Reader::new(&bytes);
        while let Ok(Some(field)) = reader.field() {
            for kind in [WireType::Varint, WireType::Fixed64, WireType::Fixed32] {
                if let Ok(packed) = field.packed(kind) {
                    prop_assert!(packed.clone().flatten().count() <= packed.max_len());
                }
            }
            if let Ok(mut inner) = field.message() {
                prop_assert!(read_all(&mut inner).unwrap_or(0) <= bytes.len());
            }
            prop_assert!(field.string().is_err() || field.bytes().is_ok());
        }
    }

    #[test]
    fn zigzag_is_its_own_inverse(v in any::<i64>()) {
        prop_assert_eq!(zigzag(to_zigzag(v)), v);
    }
}
