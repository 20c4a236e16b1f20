//! What the codes of a font mean in Unicode: its ToUnicode map, where it has one.
//!
//! Read here and not by lopdf, whose reader walks every code of a range and so can be made to walk four billion.
//! Format: Adobe Technical Note 5014 (CMap files), ISO 32000-1, 9.10.3.

use std::collections::BTreeMap;

/// The most entries of one map; two-byte codes have no more.
const ENTRIES_MAX: usize = 65_536;

/// Codes and their text. Codes are of 1 to 4 bytes.
#[derive(Debug, Default)]
pub(super) struct CMap {
    /// By (bytes of the code, first code): last code and the text of the first.
    ranges: BTreeMap<(usize, u32), (u32, Vec<u16>)>,
    /// Bytes of a code, by its code space; lengths in use, ascending.
    lengths: Vec<usize>,
}

enum Item {
    Hex(Vec<u8>),
    Open,
    Close,
    Word(Vec<u8>),
}

impl CMap {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut map = Self::default();
        let mut section: Vec<Item> = Vec::new();
        for item in (Items { rest: bytes }) {
            let Item::Word(word) = &item else {
                if section.len() < 4 * ENTRIES_MAX {
                    section.push(item);
                }
                continue;
            };
            match word.as_slice() {
                b"endbfchar" => map.characters(&section),
                b"endbfrange" => map.spans(&section),
                b"endcodespacerange" => map.spaces(&section),
                _ => (),
            }
            section.clear();
        }
        map
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn spaces(&mut self, section: &[Item]) {
        for item in section {
            if let Item::Hex(code) = item
                && (1..=4).contains(&code.len())
                && !self.lengths.contains(&code.len())
            {
                self.lengths.push(code.len());
            }
        }
        self.lengths.sort_unstable();
    }

    fn characters(&mut self, section: &[Item]) {
        let mut items = section.iter();
        while let (Some(Item::Hex(code)), Some(Item::Hex(text))) = (items.next(), items.next()) {
            self.insert(code, code, text);
        }
    }

    fn spans(&mut self, section: &[Item]) {
        let mut items = section.iter();
        while let (Some(Item::Hex(first)), Some(Item::Hex(last)), Some(text)) =
            (items.next(), items.next(), items.next())
        {
            match text {
                Item::Hex(text) => self.insert(first, last, text),
                Item::Open => {
                    let texts =
                        items.by_ref().map_while(|item| if let Item::Hex(text) = item { Some(text) } else { None });
                    for (code, text) in (number(first)..=number(last)).zip(texts) {
                        let code: Vec<_> =
                            code.to_be_bytes().into_iter().skip(4_usize.saturating_sub(first.len())).collect();
                        self.insert(&code, &code, text);
                    }
                }
                Item::Close | Item::Word(_) => return,
            }
        }
    }

    fn insert(&mut self, first: &[u8], last: &[u8], text: &[u8]) {
        if (1..=4).contains(&first.len()) && self.ranges.len() < ENTRIES_MAX {
            let units =
                text.chunks(2).map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte))).collect();
            self.ranges.insert((first.len(), number(first)), (number(last), units));
        }
    }

    /// The next code of the bytes, its length and its text.
    pub(super) fn next(&self, bytes: &[u8]) -> (u32, usize, Option<String>) {
        let lengths: &[usize] = if self.lengths.is_empty() { &[1, 2, 3, 4] } else { &self.lengths };
        for length in lengths {
            let Some(code) = bytes.get(..*length).map(number) else { break };
            if let Some(text) = self.text(*length, code) {
                return (code, *length, Some(text));
            }
        }
        let length = lengths.first().copied().unwrap_or(1).clamp(1, bytes.len().max(1));
        (bytes.get(..length).map(number).unwrap_or_default(), length, None)
    }

    fn text(&self, length: usize, code: u32) -> Option<String> {
        let ((of, first), (last, units)) = self.ranges.range(..=(length, code)).next_back()?;
        if *of != length || code > *last {
            return None;
        }
        let mut units = units.clone();
        if let Some(end) = units.last_mut() {
            *end = end.wrapping_add((code - first) as u16);
        }
        Some(String::from_utf16_lossy(&units))
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

struct Items<'a> {
    rest: &'a [u8],
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let start = self.rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let rest = self.rest.get(start..).unwrap_or_default();
        let (first, after) = rest.split_first()?;
        let (item, after) = match first {
            b'[' => (Item::Open, after),
            b']' => (Item::Close, after),
            b'<' if !after.starts_with(b"<") => {
                let end = after.iter().position(|byte| *byte == b'>').unwrap_or(after.len());
                (Item::Hex(hex(after.get(..end).unwrap_or_default())), after.get(end + 1..).unwrap_or_default())
            }
            _ => {
                let end = after
                    .iter()
                    .position(|byte| byte.is_ascii_whitespace() || b"[]<".contains(byte))
                    .unwrap_or(after.len());
                (Item::Word(rest.get(..=end).unwrap_or(rest).to_vec()), after.get(end..).unwrap_or_default())
            }
        };
        self.rest = after;
        Some(item)
    }
}

fn hex(digits: &[u8]) -> Vec<u8> {
    let values: Vec<u8> =
        digits.iter().filter_map(|digit| char::from(*digit).to_digit(16)).map(|value| value as u8).collect();
    values.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}
