//! Turning one datum.

use super::{Error, Field, Node, Part, Primitive, Problem, Reader, Record, RunError};

/// Values that cost no bytes (nulls, empty records) are bounded by this many plus [`STEPS_PER_BYTE`] a byte.
const FREE_STEPS: usize = 4_096;
const STEPS_PER_BYTE: usize = 16;

pub(super) struct Run<'p, 'd, 'o> {
    nodes: &'p [Node],
    reader: Reader<'d>,
    out: &'o mut Vec<u8>,
    steps_left: usize,
    steps: usize,
}

impl<'p, 'd, 'o> Run<'p, 'd, 'o> {
    pub(super) fn new(nodes: &'p [Node], reader: Reader<'d>, out: &'o mut Vec<u8>) -> Self {
        let steps = FREE_STEPS.saturating_add(reader.left().len().saturating_mul(STEPS_PER_BYTE));
        Self { nodes, reader, out, steps_left: steps, steps }
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        self.reader.finish()
    }

    /// Reads the value of node `index` and appends it in the reader's form.
    pub(super) fn node(&mut self, index: usize, depth: usize) -> Result<(), RunError> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Error::TooMany(self.steps))?;
        if depth > super::MAX_DEPTH {
            return Err(Error::TooDeep(super::MAX_DEPTH).into());
        }
        let nodes = self.nodes;
        match nodes.get(index) {
            Some(Node::Primitive(from, to)) => Ok(self.primitive(*from, *to)?),
            Some(Node::Fixed(size)) => {
                let bytes = self.reader.take(i64::try_from(*size).unwrap_or(i64::MAX))?;
                self.out.extend_from_slice(bytes);
                Ok(())
            }
            Some(Node::Enum(symbols)) => self.symbol(symbols),
            Some(Node::Array(items)) => self.blocks(|run| run.node(*items, depth + 1)),
            Some(Node::Map(values)) => self.blocks(|run| {
                run.primitive(Primitive::String, Primitive::String)?;
                run.node(*values, depth + 1)
            }),
            Some(Node::Record(record)) => self.record(record, depth),
            Some(Node::WriterUnion(branches)) => {
                let branch = self.reader.long()?;
                let node = usize::try_from(branch).ok().and_then(|b| branches.get(b)).ok_or(Error::Branch(branch))?;
                self.node(*node, depth + 1)
            }
            Some(Node::ReaderUnion(branch, node)) => {
                crate::avro::put_long(self.out, *branch);
                self.node(*node, depth + 1)
            }
            Some(Node::Fail(problem)) => Err(RunError::Unreadable(problem.clone())),
            None => Err(Error::Truncated.into()), // no plan points outside itself
        }
    }

    fn primitive(&mut self, from: Primitive, to: Primitive) -> Result<(), Error> {
        use Primitive::{Boolean, Bytes, Double, Float, Int, Long, Null, String};
        match from {
            Null => Ok(()),
            Boolean => self.copy::<bool>(),
            Bytes if to == Bytes => self.copy::<&[u8]>(),
            String | Bytes => self.copy::<&str>(),
            Int | Long => {
                let n = self.reader.long()?;
                if from == Int {
                    i32::try_from(n).map_err(|_| Error::Integer)?;
                }
                self.number(n, to);
                Ok(())
            }
            Float => {
                let bytes = self.array()?;
                match to {
                    Double => self.out.extend_from_slice(&f64::from(f32::from_le_bytes(bytes)).to_le_bytes()),
                    _ => self.out.extend_from_slice(&bytes),
                }
                Ok(())
            }
            Double => {
                let bytes = self.array::<8>()?;
                self.out.extend_from_slice(&bytes);
                Ok(())
            }
        }
    }

    fn number(&mut self, n: i64, to: Primitive) {
        match to {
            Primitive::Float => self.out.extend_from_slice(&(n as f32).to_le_bytes()),
            Primitive::Double => self.out.extend_from_slice(&(n as f64).to_le_bytes()),
            _ => crate::avro::put_long(self.out, n),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.reader.take(N as i64)?.try_into().map_err(|_| Error::Truncated)
    }

    fn copy<T: crate::avro::Avro<'d>>(&mut self) -> Result<(), Error> {
        T::get(&mut self.reader)?.put(self.out);
        Ok(())
    }

    fn symbol(&mut self, symbols: &[Result<i64, Problem>]) -> Result<(), RunError> {
        let n = self.reader.long()?;
        let symbol = usize::try_from(n).ok().and_then(|i| symbols.get(i)).ok_or(Error::Branch(n))?;
        crate::avro::put_long(self.out, *symbol.as_ref().map_err(|p| RunError::Unreadable(p.clone()))?);
        Ok(())
    }

    /// Blocks of an array or a map; written with the same counts and without byte sizes.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), RunError>) -> Result<(), RunError> {
        loop {
            let mut n = self.reader.long()?;
            if n < 0 {
                self.reader.long()?; // the block's size in bytes, for readers that skip it
                n = n.checked_neg().ok_or(Error::Length(n))?;
            }
            if usize::try_from(n).map_or(true, |n| n > self.steps_left) {
                return Err(Error::TooMany(self.steps).into());
            }
            crate::avro::put_long(self.out, n);
            if n == 0 {
                return Ok(());
            }
            for _ in 0..n {
                item(self)?;
            }
        }
    }

    fn record(&mut self, record: &Record, depth: usize) -> Result<(), RunError> {
        let base = self.out.len();
        let Some(order) = &record.order else {
            return record.fields.iter().try_for_each(|field| self.field(field, depth));
        };
        let mut ranges = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let start = self.out.len() - base;
            self.field(field, depth)?;
            ranges.push(start..self.out.len() - base);
        }
        let written = self.out.split_off(base);
        for part in order {
            match part {
                Part::Written(i) => {
                    let bytes = ranges.get(*i).and_then(|range| written.get(range.clone())).unwrap_or_default();
                    self.out.extend_from_slice(bytes);
                }
                Part::Default(bytes) => self.out.extend_from_slice(bytes),
            }
        }
        Ok(())
    }

    /// A skipped field is read like any other, so that its form is checked, and what it wrote is taken back.
    fn field(&mut self, field: &Field, depth: usize) -> Result<(), RunError> {
        let start = self.out.len();
        self.node(field.node, depth + 1)?;
        if field.skip {
            self.out.truncate(start);
        }
        Ok(())
    }
}
