//! Small changes to bytes, as fuzzers make them.

/// Longest input that is made.
const INPUT_BYTES_MAX: usize = 16 << 10;

/// Sequence of pseudo-random numbers (SplitMix64, Steele et al. 2014), so that a seed repeats a run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Bytes that matter to somebody: varints at their limits, lengths, marks of JSON and Avro.
const TOKENS: [&[u8]; 36] = [
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    b"\x80\x00",
    b"\x01",
    b"\x00",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b",",
    b":",
    b"null",
    b"1e999",
    b"9007199254740992",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"\n",
    b"\r\n",
    b"{\"type\":\"array\",\"items\":",
    b"{\"type\":\"map\",\"values\":",
    b"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1152921504606846976}",
    b"\"tidemark.flows.FlowObserved\"",
    b"[\"null\",\"long\"]",
    b"\"default\":",
    b"\"observed_at\":\"2026-01-31T12:00:00Z\"",
    b"\"logicalType\":\"decimal\",\"precision\":9,\"scale\":1",
];

/// Changes `input` a few times; `other` is a member of the corpus to take pieces from.
pub fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(6) {
        change(random, input, other);
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn change(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len() + 1);
    let (start, end) = range(random, input.len());
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next().to_le_bytes()[0],
        2 if at < input.len() => input[at] = input[at].wrapping_add(if random.below(2) == 0 { 1 } else { 255 }),
        3 => drop(input.drain(start..end)),
        4 => {
            let again = input[start..end].repeat(1 + random.below(4));
            drop(input.splice(at..at, again));
        }
        5 => {
            let (start, end) = range(random, other.len());
            drop(input.splice(at..at, other[start..end].iter().copied()));
        }
        6 | 7 => drop(input.splice(at..at, random.pick(&TOKENS).iter().copied())),
        _ => input.truncate(at),
    }
}

/// Up to 64 bytes of `len`.
fn range(random: &mut Random, len: usize) -> (usize, usize) {
    let start = random.below(len + 1);
    (start, start + random.below((len - start).min(64) + 1))
}
