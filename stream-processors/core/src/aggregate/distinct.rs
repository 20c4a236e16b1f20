//! How many different values: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier, AofA 2007) of 64-bit hashes, estimated as in
//! O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017 (arXiv:1702.01284), without tables.

mod estimate;

use estimate::improved_raw;
use tidemark_schemas::avro::{self, Reader, put_long};

/// The fewest registers are 2⁴: a standard error of 26 % (measured: 28 %, the formula being that of many registers).
pub const PRECISION_MIN: u8 = 4;
/// The most registers are 2¹⁸, 256 KiB: a standard error of 0.2 %.
pub const PRECISION_MAX: u8 = 18;
/// The precision where a specification states none: 2¹⁴ registers, 16 KiB, a standard error of 0.8 %.
pub const PRECISION_DEFAULT: u8 = 14;

/// Few values are kept as registers of a finer sketch, as in HyperLogLog++ (Heule, Nunkesser, Hall, EDBT 2013).
const FINE: u8 = 26;
/// Below the index of a fine register stands its rank, 1 to 39.
const RANK_BITS: u32 = 6;
/// Beyond so many the insertion into a sorted list costs more than the memory it saves.
const SPARSE_MAX: usize = 1 << 14;

/// For each of 2^precision parts of the hashes the highest rank, the position of the first 1 after the part's own bits.
///
/// While at most 2^precision / 4 (and 16,384) fine registers are not 0, these are kept, and the count is all but exact: two
/// values in 1,000 share one with a chance of 0.7 %. Then they fold to coarse registers, which a fine register and its rank
/// decide. The set of fine registers only grows with the values, so which form a state has is a function of the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Registers {
    precision: u8,
    form: Form,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// Index and rank, ascending, one for each index. 4 bytes each: no more than the coarse registers take.
    Sparse(Vec<u32>),
    /// Ranks, 0 for none.
    Dense(Box<[u8]>),
}

/// The part of `hash` that `precision` bits name, and its rank.
#[inline]
fn locate(hash: u64, precision: u8) -> (usize, u8) {
    let rest = (hash << precision).leading_zeros().min(64 - u32::from(precision));
    ((hash >> (64 - u32::from(precision))) as usize, rest as u8 + 1)
}

/// The coarse register and rank of a fine one.
fn fold(entry: u32, precision: u8) -> (usize, u8) {
    let (index, rank) = (entry >> RANK_BITS, (entry & ((1 << RANK_BITS) - 1)) as u8);
    let between = FINE - precision;
    let low = index & ((1 << between) - 1);
    let rank = match low {
        0 => between + rank,
        _ => between - (u32::BITS - low.leading_zeros()) as u8 + 1,
    };
    ((index >> between) as usize, rank)
}

fn sparse_max(precision: u8) -> usize {
    (1usize << precision >> 2).min(SPARSE_MAX)
}

fn raise(registers: &mut [u8], (index, rank): (usize, u8)) {
    if let Some(register) = registers.get_mut(index) {
        *register = rank.max(*register);
    }
}

impl Registers {
    /// None seen; `precision` is brought into its bounds.
    pub(super) fn new(precision: u8) -> Self {
        Self { precision: precision.clamp(PRECISION_MIN, PRECISION_MAX), form: Form::Sparse(Vec::new()) }
    }

    #[inline]
    pub(super) fn add(&mut self, hash: u64) {
        match &mut self.form {
            Form::Dense(registers) => raise(registers, locate(hash, self.precision)),
            Form::Sparse(entries) => {
                let (index, rank) = locate(hash, FINE);
                let entry = (index as u32) << RANK_BITS | u32::from(rank);
                let at = entries.partition_point(|other| other >> RANK_BITS < index as u32);
                match entries.get_mut(at).filter(|other| **other >> RANK_BITS == index as u32) {
                    Some(other) => *other = entry.max(*other),
                    None => {
                        entries.insert(at, entry);
                        self.bound();
                    }
                }
            }
        }
    }

    fn bound(&mut self) {
        if let Form::Sparse(entries) = &self.form
            && entries.len() > sparse_max(self.precision)
        {
            let mut registers = vec![0; 1 << self.precision];
            entries.iter().for_each(|entry| raise(&mut registers, fold(*entry, self.precision)));
            self.form = Form::Dense(registers.into());
        }
    }

    /// Two precisions, which only forged bytes bring together, merge to the higher.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.precision != other.precision {
            if self.precision < other.precision {
                *self = other.clone();
            }
            return;
        }
        match (&mut self.form, &other.form) {
            (Form::Sparse(entries), Form::Sparse(more)) => {
                entries.extend_from_slice(more);
                entries.sort(); // stable: it finds the two runs and merges them
                entries.dedup_by(|higher, kept| {
                    let same = *higher >> RANK_BITS == *kept >> RANK_BITS;
                    if same {
                        *kept = *higher;
                    }
                    same
                });
                self.bound();
            }
            (Form::Dense(registers), Form::Sparse(entries)) => {
                entries.iter().for_each(|entry| raise(registers, fold(*entry, self.precision)));
            }
            (Form::Sparse(entries), Form::Dense(registers)) => {
                let mut registers = registers.clone();
                entries.iter().for_each(|entry| raise(&mut registers, fold(*entry, self.precision)));
                self.form = Form::Dense(registers);
            }
            (Form::Dense(registers), Form::Dense(more)) => {
                registers.iter_mut().zip(more).for_each(|(rank, other)| *rank = (*rank).max(*other));
            }
        }
    }

    /// How many different values were added, to the nearest whole number.
    pub(super) fn estimate(&self) -> i64 {
        let estimate = match &self.form {
            // m ln(m / (m - n)), of which the next term is below 10⁻³.
            Form::Sparse(entries) => {
                let (n, m) = (entries.len() as f64, f64::from(1 << FINE));
                n + n * n / (2.0 * m) + n * n * n / (3.0 * m * m)
            }
            Form::Dense(registers) => improved_raw(registers, self.precision),
        };
        estimate.round() as i64
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.form {
                Form::Sparse(entries) => entries.capacity() * size_of::<u32>(),
                Form::Dense(registers) => registers.len(),
            }
    }

    /// Appends precision and number of fine registers, then for each its distance from the one before and its rank. For
    /// coarse registers the number is 0; then all of them, four in three bytes.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.precision));
        match &self.form {
            Form::Sparse(entries) => {
                put_long(out, entries.len() as i64);
                let mut after = 0;
                for entry in entries {
                    put_long(out, i64::from(entry - after));
                    after = entry & !((1 << RANK_BITS) - 1);
                }
            }
            Form::Dense(registers) => {
                put_long(out, 0);
                for four in registers.chunks(4) {
                    let packed = four.iter().rev().fold(0u32, |packed, rank| packed << RANK_BITS | u32::from(*rank));
                    out.extend(packed.to_le_bytes().into_iter().take(3));
                }
            }
        }
    }

    pub(super) fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        let precision = reader.long()?;
        let precision = u8::try_from(precision)
            .ok()
            .filter(|precision| (PRECISION_MIN..=PRECISION_MAX).contains(precision))
            .ok_or(avro::Error::Branch(precision))?;
        let form = match reader.long()? {
            0 => Form::Dense(get_dense(reader, precision)?),
            length if (1..=sparse_max(precision) as i64).contains(&length) => Form::Sparse(get_sparse(reader, length)?),
            other => return Err(avro::Error::Length(other)),
        };
        Ok(Self { precision, form })
    }
}

fn get_sparse(reader: &mut Reader<'_>, length: i64) -> Result<Vec<u32>, avro::Error> {
    let rank = |entry: u32| entry & ((1 << RANK_BITS) - 1);
    let mut entries = Vec::<u32>::new();
    for _ in 0..length {
        let gap = u32::try_from(reader.long()?).map_err(|_| avro::Error::Integer)?;
        let after = entries.last().map_or(0, |last| last - rank(*last));
        let entry = after.checked_add(gap).ok_or(avro::Error::Integer)?;
        if !(1..=u32::from(64 - FINE) + 1).contains(&rank(entry)) || (!entries.is_empty() && gap >> RANK_BITS == 0) {
            return Err(avro::Error::Integer);
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn get_dense(reader: &mut Reader<'_>, precision: u8) -> Result<Box<[u8]>, avro::Error> {
    let packed = reader.take(3 << precision >> 2)?;
    let mut registers = Vec::with_capacity(1 << precision);
    for three in packed.chunks(3) {
        let four = three.iter().rev().fold(0u32, |four, byte| four << 8 | u32::from(*byte));
        registers.extend((0..4).map(|at| (four >> (at * RANK_BITS)) as u8 & ((1 << RANK_BITS) - 1)));
    }
    match registers.iter().find(|rank| **rank > 64 - precision + 1) {
        Some(rank) => Err(avro::Error::Branch(i64::from(*rank))),
        None => Ok(registers.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Hashes that share fine registers, which 26 bits of real ones hardly ever do, and of all ranks.
    fn hashes() -> impl Strategy<Value = Vec<u64>> {
        let hash = (any::<u64>(), 0u32..64, 0u64..6);
        vec(hash.prop_map(|(bits, shift, index)| bits >> shift >> FINE | (index << 19 | index) << (64 - FINE)), 0..40)
    }

    proptest! {
        #[test]
        fn a_fine_register_decides_the_coarse_one(bits: u64, shift in 0u32..64, at in 0u32..64, precision in 4u8..=18) {
            for hash in [bits, bits >> shift, bits & !(u64::MAX >> FINE), (bits >> shift).rotate_right(at), 0] {
                let (index, rank) = locate(hash, FINE);
                let entry = (index as u32) << RANK_BITS | u32::from(rank);
                prop_assert_eq!(fold(entry, precision), locate(hash, precision), "{:x}", hash);
            }
        }

        #[test]
        fn registers_keep_the_highest_rank_in_any_order(hashes in hashes(), split: prop::sample::Index, precision in 4u8..8) {
            let all = |hashes: &[u64]| {
                let mut registers = Registers::new(precision);
                hashes.iter().for_each(|hash| registers.add(*hash));
                registers
            };
            let mut backwards = hashes.clone();
            backwards.reverse();
            let (left, right) = hashes.split_at(split.index(hashes.len() + 1));
            let mut merged = all(right);
            merged.merge(&all(left));
            prop_assert_eq!(&all(&backwards), &all(&hashes));
            prop_assert_eq!(&merged, &all(&hashes));
        }
    }
}
