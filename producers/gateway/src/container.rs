//! Avro object container files: header with the writer's schema, then blocks of records, plain or deflated.

use std::io::Read;

use tidemark_schemas::avro::Reader;

use crate::batch::Collector;
use crate::body::BODY_MAX;
use crate::form::{Files, Form};
use crate::problem::{Kind, Problem};
use crate::rule::{Finding, Rule};
use crate::values::{Values, block_count, long, take};
use crate::writer_schema::Schema;

const MAGIC: &[u8] = b"Obj\x01";
/// Fields without which no record can be a flow.
const REQUIRED: [&str; 5] = ["src_app", "dest_app", "vpc_id", "bytes_tx", "bytes_rx"];

struct Header<'a> {
    schema: Schema,
    /// Its text.
    text: &'a [u8],
    deflated: bool,
    sync: &'a [u8],
}

/// Takes the next record of a file; what it keeps of the header lives for `'s`. The outer error ends the request, the inner one is
/// about the block.
trait Take<'s> {
    fn take<'a>(&mut self, bytes: &mut Reader<'a>, records: &mut Collector<'_>) -> Result<Result<(), String>, Problem>
    where
        's: 'a;
}

struct Flows<'s>(Values<'s>);

impl<'s> Take<'s> for Flows<'s> {
    fn take<'a>(&mut self, bytes: &mut Reader<'a>, records: &mut Collector<'_>) -> Result<Result<(), String>, Problem>
    where
        's: 'a,
    {
        match self.0.record(bytes) {
            Ok(draft) => records.add(Ok(draft), None).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }
}

impl<'s> Take<'s> for Files<'_, 's> {
    fn take<'a>(&mut self, bytes: &mut Reader<'a>, records: &mut Collector<'_>) -> Result<Result<(), String>, Problem>
    where
        's: 'a,
    {
        let mut broken = Ok(());
        records.put(None, |id, out| match self.event(bytes, id, out) {
            Ok(event) => Ok(event),
            Err(why) => {
                broken = Err(why.clone());
                Ok((id, vec![Finding::whole(Rule::Malformed, why, "send the whole file")]))
            }
        })?;
        Ok(broken)
    }
}

/// Reads every record of a file of flows. One that cannot be decoded refuses the whole: what follows it cannot be found.
pub(crate) fn read(body: &[u8], records: &mut Collector<'_>) -> Result<(), Problem> {
    let mut bytes = Reader::new(body);
    let header = header(&mut bytes)?;
    let lacks = header.schema.lacks(&REQUIRED);
    if !lacks.is_empty() {
        let detail = format!("the writer's schema lacks {}; a flow needs these fields", lacks.join(", "));
        return Err(Problem::new(Kind::WriterSchema, detail));
    }
    blocks(bytes, &header, records, &mut Flows(Values::new(&header.schema)))
}

/// Reads every record of a file of events of a form.
pub(crate) fn read_events(body: &[u8], form: &Form, records: &mut Collector<'_>) -> Result<(), Problem> {
    let mut bytes = Reader::new(body);
    let header = header(&mut bytes)?;
    let mut files = Files::new(form, header.text, &header.schema).map_err(|why| {
        let fix = "write the file with the topic's schema, or with one that it can read";
        Problem::new(Kind::WriterSchema, format!("{why}; {fix}"))
    })?;
    blocks(bytes, &header, records, &mut files)
}

fn blocks<'s>(
    mut bytes: Reader<'s>,
    header: &'s Header<'s>,
    records: &mut Collector<'_>,
    take: &mut impl Take<'s>,
) -> Result<(), Problem> {
    let mut room = BODY_MAX;
    for number in 1.. {
        if bytes.left().is_empty() {
            break;
        }
        let place = |why: String| malformed(&format!("block {number}: {why}"));
        let (count, data) = block(&mut bytes, header.sync).map_err(place)?;
        if header.deflated {
            let data = inflate(data, &mut room).map_err(place)?;
            read_block(&data, count, records, take)?.map_err(place)?;
        } else {
            read_block(data, count, records, take)?.map_err(place)?;
        }
    }
    Ok(())
}

fn malformed(why: &str) -> Problem {
    let detail = format!("not an Avro object container file: {why}; nothing was accepted, send the whole file");
    Problem::new(Kind::MalformedBody, detail)
}

fn header<'a>(bytes: &mut Reader<'a>) -> Result<Header<'a>, Problem> {
    let in_header = |why: String| malformed(&format!("header: {why}"));
    if take(bytes, 4).map_err(in_header)? != MAGIC {
        return Err(malformed("header: the first four bytes are not \"Obj\" and 1"));
    }
    let (mut schema, mut codec): (Option<&[u8]>, &[u8]) = (None, b"null");
    loop {
        let count = block_count(bytes).map_err(in_header)?;
        if count == 0 {
            break;
        }
        for _ in 0..count {
            let key = bytes.bytes().map_err(|error| in_header(error.to_string()))?;
            let value = bytes.bytes().map_err(|error| in_header(error.to_string()))?;
            match key {
                b"avro.schema" => schema = Some(value),
                b"avro.codec" => codec = value,
                _ => {}
            }
        }
    }
    let sync = take(bytes, 16).map_err(in_header)?;
    let text = schema.ok_or_else(|| malformed("header: no avro.schema"))?;
    let schema = Schema::parse(text).map_err(|why| Problem::new(Kind::WriterSchema, why))?;
    Ok(Header { schema, text, deflated: deflated(codec)?, sync })
}

fn deflated(codec: &[u8]) -> Result<bool, Problem> {
    match codec {
        b"null" => Ok(false),
        b"deflate" => Ok(true),
        other => {
            let name = String::from_utf8_lossy(other.get(..32).unwrap_or(other)).into_owned();
            let detail = format!("the file's codec is {name:?}; taken are null and deflate");
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
    }
}

fn block<'a>(bytes: &mut Reader<'a>, sync: &[u8]) -> Result<(i64, &'a [u8]), String> {
    let count = long(bytes)?;
    if count < 0 {
        return Err(format!("a count of {count}"));
    }
    let size = long(bytes)?;
    let data = take(bytes, size)?;
    if take(bytes, 16)? != sync {
        return Err("its sync marker differs from the header's".to_owned());
    }
    Ok((count, data))
}

fn inflate(data: &[u8], room: &mut usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let limit = u64::try_from(*room).unwrap_or(u64::MAX).saturating_add(1);
    let read = flate2::read::DeflateDecoder::new(data).take(limit).read_to_end(&mut out);
    read.map_err(|error| format!("cannot be inflated: {error}"))?;
    let over = || format!("the file is larger than {BODY_MAX} bytes when inflated");
    *room = room.checked_sub(out.len()).ok_or_else(over)?;
    Ok(out)
}

/// The outer error ends the request, the inner one is about the block.
fn read_block<'s: 'a, 'a>(
    data: &'a [u8],
    count: i64,
    records: &mut Collector<'_>,
    take: &mut impl Take<'s>,
) -> Result<Result<(), String>, Problem> {
    let mut bytes = Reader::new(data);
    for at in 0..count {
        if let Err(why) = take.take(&mut bytes, records)? {
            return Ok(Err(format!("record {at}: {why}")));
        }
    }
    Ok(bytes.finish().map_err(|error| error.to_string()))
}
