//! The walk over a datum that reads the fields that are used.

use super::{Read, Shape, Source};
use tidemark_core::value::Value;
use tidemark_schemas::avro::{Avro, Error, Reader};

/// Deepest nesting of a datum.
const DEPTH_MAX: usize = 64;

/// A way over a datum.
#[derive(Debug, Clone)]
pub struct Walk {
    steps: Vec<Go>,
    shapes: Vec<Shape>,
    slots: usize,
    /// The slots are filled from the first to the last.
    in_order: bool,
}

/// A step; the plain types are steps of their own, for a field of these is read in a few instructions.
#[derive(Debug, Clone)]
enum Go {
    Name(usize),
    Text(usize),
    Long(usize),
    Time(usize),
    Read(usize, Box<Read>),
    PassLong,
    PassBytes,
    Pass(usize),
    /// The bytes from here are the key as it stands, to [`Go::KeyEnds`].
    KeyStarts,
    KeyEnds,
}

impl Go {
    fn slot(&self) -> Option<usize> {
        match self {
            Self::Name(slot) | Self::Text(slot) | Self::Long(slot) | Self::Time(slot) | Self::Read(slot, _) => {
                Some(*slot)
            }
            Self::PassLong | Self::PassBytes | Self::Pass(_) | Self::KeyStarts | Self::KeyEnds => None,
        }
    }

    /// Its bytes in the datum are those of its value as a part of a key.
    fn is_key_as_it_stands(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Text(_) | Self::Long(_) | Self::Time(_))
            || matches!(self, Self::Read(_, read) if matches!(**read, Read::Boolean))
    }
}

impl Source {
    /// The walk that reads the fields `wanted` into the slots of the same place. Of the texts among `names` no more than the
    /// bytes are asked for: they come as bytes, which are UTF-8.
    pub fn walk(&self, wanted: &[String], names: &[usize]) -> Walk {
        let slot = |field: &str| wanted.iter().position(|name| name == field);
        let steps = self.steps.iter().map(|step| {
            let slot = self.fields.get(step.field).and_then(|field| slot(&field.name));
            match (slot, &step.read) {
                (Some(slot), read) => match read.clone().named(names.contains(&slot)) {
                    Read::Name => Go::Name(slot),
                    Read::Text => Go::Text(slot),
                    Read::Long => Go::Long(slot),
                    Read::Time(1) => Go::Time(slot),
                    other => Go::Read(slot, Box::new(other)),
                },
                (None, _) => match self.shapes.get(step.shape) {
                    Some(Shape::Number) => Go::PassLong,
                    Some(Shape::Bytes) => Go::PassBytes,
                    _ => Go::Pass(step.shape),
                },
            }
        });
        let steps: Vec<Go> = steps.collect();
        let in_order = steps.iter().filter_map(Go::slot).eq(0..wanted.len());
        Walk { steps, shapes: self.shapes.clone(), slots: wanted.len(), in_order }
    }
}

impl Walk {
    /// Notes which slots are the key. Where they follow each other in the datum, in their order, [`Walk::read`] gives its bytes.
    pub(crate) fn set_key(&mut self, slots: &[usize]) {
        let first = self.steps.iter().position(|step| step.slot().is_some() && step.slot() == slots.first().copied());
        let Some(first) = first else { return };
        let end = first + slots.len();
        let Some(steps) = self.steps.get(first..end) else { return };
        if steps.iter().all(Go::is_key_as_it_stands) && steps.iter().filter_map(Go::slot).eq(slots.iter().copied()) {
            self.steps.insert(end, Go::KeyEnds);
            self.steps.insert(first, Go::KeyStarts);
        }
    }

    /// Reads the wanted fields into `slots`, which it fills from its start, and gives the key, where it stands in the datum. The
    /// whole datum must be of the schema.
    ///
    /// # Errors
    /// It is not.
    #[inline]
    pub fn read<'a>(
        &'a self,
        datum: &'a [u8],
        slots: &mut smallvec::SmallVec<[Value<'a>; 16]>,
    ) -> Result<Option<&'a [u8]>, Error> {
        if !self.in_order {
            slots.resize(self.slots, Value::Null);
        }
        let mut reader = Reader::new(datum);
        let (mut start, mut key) = (datum, None);
        for step in &self.steps {
            // Straight into its slot: a value that goes through a `Result` first is copied in pieces, which costs more than
            // reading it.
            match step {
                Go::Name(slot) => self.fill(*slot, Value::Bytes(reader.text()?), slots),
                Go::Text(slot) => self.fill(*slot, Value::Text(reader.string()?), slots),
                Go::Long(slot) => self.fill(*slot, Value::Long(reader.long()?), slots),
                Go::Time(slot) => self.fill(*slot, Value::Time(reader.long()?), slots),
                Go::PassLong => drop(reader.long()?),
                Go::PassBytes => drop(reader.bytes()?),
                Go::KeyStarts => start = reader.left(),
                Go::KeyEnds => key = start.get(..start.len() - reader.left().len()),
                Go::Read(slot, read) => {
                    // A reader of its own: one that is lent to others is kept in memory all the time.
                    let mut lent = reader.clone();
                    self.fill(*slot, read.value(&mut lent)?, slots);
                    reader = lent;
                }
                Go::Pass(shape) => {
                    let mut lent = reader.clone();
                    self.pass(&mut lent, *shape, 0)?;
                    reader = lent;
                }
            }
        }
        reader.finish().map(|()| key)
    }

    #[inline(always)]
    fn fill<'a>(&self, slot: usize, value: Value<'a>, slots: &mut smallvec::SmallVec<[Value<'a>; 16]>) {
        if self.in_order {
            slots.push(value);
        } else if let Some(to) = slots.get_mut(slot) {
            *to = value;
        }
    }

    fn pass(&self, reader: &mut Reader<'_>, shape: usize, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep(DEPTH_MAX));
        }
        match self.shapes.get(shape) {
            None | Some(Shape::Null) => Ok(()),
            Some(Shape::Boolean) => bool::get(reader).map(|_| ()),
            Some(Shape::Number) => reader.long().map(|_| ()),
            Some(Shape::Fixed(size)) => reader.take(i64::try_from(*size).unwrap_or(i64::MAX)).map(|_| ()),
            Some(Shape::Bytes) => reader.bytes().map(|_| ()),
            Some(Shape::Record(fields)) => fields.iter().try_for_each(|field| self.pass(reader, *field, depth + 1)),
            Some(Shape::Union(branches)) => {
                let branch = reader.long()?;
                let shape = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
                self.pass(reader, *shape.ok_or(Error::Branch(branch))?, depth + 1)
            }
            Some(Shape::Array(items)) => self.blocks(reader, |reader| self.pass(reader, *items, depth + 1)),
            Some(Shape::Map(values)) => self.blocks(reader, |reader| {
                reader.bytes()?;
                self.pass(reader, *values, depth + 1)
            }),
        }
    }

    fn blocks(
        &self,
        reader: &mut Reader<'_>,
        mut item: impl FnMut(&mut Reader<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let n = reader.long()?;
            if n == 0 {
                return Ok(());
            }
            if n < 0 {
                let bytes = reader.long()?;
                reader.take(bytes)?;
                continue;
            }
            for _ in 0..n {
                let before = reader.left().len();
                item(reader)?;
                // Items that take no bytes cost nothing to leave out, and a count of them may be a lie.
                if reader.left().len() == before {
                    break;
                }
            }
        }
    }
}

impl Read {
    /// A text of which no more than the bytes are asked for.
    fn named(self, name: bool) -> Self {
        match self {
            Self::Text if name => Self::Name,
            Self::Nullable(null, read) => Self::Nullable(null, Box::new(read.named(name))),
            other => other,
        }
    }

    fn value<'a>(&'a self, reader: &mut Reader<'a>) -> Result<Value<'a>, Error> {
        Ok(match self {
            Self::Boolean => Value::Boolean(bool::get(reader)?),
            Self::Long => Value::Long(reader.long()?),
            Self::Float => Value::Double(f64::from(f32::from_le_bytes(array(reader)?))),
            Self::Double => Value::Double(f64::from_le_bytes(array(reader)?)),
            Self::Text => Value::Text(reader.string()?),
            Self::Name => Value::Bytes(reader.text()?),
            Self::Bytes => Value::Bytes(reader.bytes()?),
            Self::Integer => Value::Integer(i128::get(reader)?),
            Self::Time(1) => Value::Time(reader.long()?),
            Self::Time(units @ 2..) => Value::Time(reader.long()?.div_euclid(*units)),
            Self::Time(factor) => Value::Time(reader.long()?.saturating_mul(factor.saturating_neg())),
            Self::Symbol(symbols) => {
                let n = reader.long()?;
                let symbol = usize::try_from(n).ok().and_then(|n| symbols.get(n)).ok_or(Error::Branch(n))?;
                Value::Text(symbol)
            }
            Self::Nullable(null, other) => match reader.long()? {
                branch if branch == *null => Value::Null,
                0 | 1 => other.value(reader)?,
                branch => return Err(Error::Branch(branch)),
            },
            Self::Opaque => Value::Null,
        })
    }
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], Error> {
    reader.take(N as i64)?.try_into().map_err(|_| Error::Truncated)
}
