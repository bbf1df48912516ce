//! Changing bytes at random.

/// The longest input that is made.
const MAX_LEN: usize = 256 << 10;
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 62,
    i64::MAX as u64,
    u64::MAX,
];

/// Makes up to eight changes to an input; `other` is another one to take parts of.
pub fn mutate(rng: &mut fastrand::Rng, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 << rng.u32(..4) {
        if input.is_empty() {
            input.push(rng.u8(..));
        }
        let at = rng.usize(..input.len());
        let len = rng.usize(1..=32.min(input.len() - at));
        match rng.u32(..11) {
            0 | 1 => input[at] ^= 1 << rng.u32(..8),
            2 => input[at] = rng.u8(..),
            3 => input[at] = [0, 1, 0x7f, 0x80, 0xff][rng.usize(..5)],
            4 => {
                let number = NUMBERS[rng.usize(..NUMBERS.len())].to_be_bytes();
                let width = [2, 4, 8][rng.usize(..3)];
                for (to, from) in input[at..].iter_mut().zip(&number[8 - width..]) {
                    *to = *from;
                }
            }
            5 => drop(input.drain(at..at + len)),
            6 => {
                let part = input[at..at + len].to_vec();
                let to = rng.usize(..=input.len());
                input.splice(to..to, part);
            }
            7 => {
                let bytes = std::iter::repeat_with(|| rng.u8(..)).take(len).collect::<Vec<_>>();
                input.splice(at..at, bytes);
            }
            8 => input.truncate(at),
            9 if !other.is_empty() => {
                let from = rng.usize(..other.len());
                let part = &other[from..other.len().min(from + len * 8)];
                let end = input.len().min(at + part.len());
                input.splice(at..end, part.iter().copied());
            }
            _ => {
                let (a, b) = (rng.usize(..input.len()), rng.usize(..input.len()));
                input.swap(a, b);
            }
        }
        input.truncate(MAX_LEN);
    }
}
