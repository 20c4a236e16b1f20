//! Data as JSON, as people write them: times as RFC 3339, symbols and texts as they are, unions as what is in them.

use crate::instant;
use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, NamesRef, ResolvedSchema, UuidSchema};
use serde_json::{Map, Number, Value as Json};
use tidemark_schemas::avro::{Avro, Error, Reader};
use tidemark_schemas::resolve::{self, MAX_DEPTH};

/// Most values of one datum: items that take no bytes may be any number.
const VALUES_MAX: usize = 100_000;

/// Reads data of one schema.
pub struct Readable {
    schema: Schema,
}

impl Readable {
    /// Of a schema.
    ///
    /// # Errors
    /// It is not an Avro schema.
    pub fn new(avsc: &str) -> Result<Self, String> {
        Ok(Self { schema: resolve::parse(avsc)? })
    }

    /// A datum as JSON. Bytes and fixed are texts of one character up to `U+00FF` for each byte; a decimal that is no whole
    /// number of 64 bits is a text, with all its digits.
    ///
    /// # Errors
    /// It is not a datum of the schema, or nests deeper or holds more values than is shown.
    pub fn json(&self, datum: &[u8]) -> Result<Json, String> {
        let resolved = ResolvedSchema::new(&self.schema).map_err(|error| error.to_string())?;
        let mut reading = Reading { names: resolved.get_names(), left: Reader::new(datum), values: 0 };
        let json = reading.value(&self.schema, 0).map_err(|error| error.to_string())?;
        reading.left.finish().map_err(|error| error.to_string())?;
        Ok(json)
    }
}

struct Reading<'r> {
    names: &'r NamesRef<'r>,
    left: Reader<'r>,
    values: usize,
}

impl<'r> Reading<'r> {
    fn value(&mut self, schema: &'r Schema, depth: usize) -> Result<Json, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep(MAX_DEPTH));
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Error::TooMany(VALUES_MAX));
        }
        Ok(match schema {
            Schema::Ref { name } => {
                let named = self.names.get(name).copied().ok_or(Error::Branch(0))?;
                self.value(named, depth + 1)?
            }
            Schema::Null => Json::Null,
            Schema::Boolean => bool::get(&mut self.left)?.into(),
            Schema::Int | Schema::Long | Schema::TimeMillis | Schema::TimeMicros => self.left.long()?.into(),
            Schema::Float => {
                let value = f32::from_le_bytes(self.bytes()?);
                // By its own digits: as a double it would have more.
                number(value.to_string().parse().unwrap_or(f64::from(value)))
            }
            Schema::Double => number(f64::from_le_bytes(self.bytes()?)),
            Schema::String | Schema::Uuid(UuidSchema::String) => self.left.string()?.into(),
            Schema::Bytes | Schema::BigDecimal => latin(self.left.bytes()?),
            Schema::Uuid(UuidSchema::Bytes) => uuid(self.left.bytes()?),
            Schema::Uuid(UuidSchema::Fixed(fixed)) => uuid(self.fixed(fixed.size)?),
            Schema::Fixed(fixed) | Schema::Duration(fixed) => latin(self.fixed(fixed.size)?),
            Schema::Decimal(decimal) => {
                let bytes = match &decimal.inner {
                    InnerDecimalSchema::Bytes => self.left.bytes()?,
                    InnerDecimalSchema::Fixed(fixed) => self.fixed(fixed.size)?,
                };
                decimal_text(bytes, decimal.scale)
            }
            Schema::Date => {
                self.time(86_400_000_000_000, |text| text.split('T').next().unwrap_or_default().to_owned())?
            }
            Schema::TimestampMillis => self.time(1_000_000, str::to_owned)?,
            Schema::TimestampMicros => self.time(1_000, str::to_owned)?,
            Schema::TimestampNanos => self.time(1, str::to_owned)?,
            Schema::LocalTimestampMillis => self.time(1_000_000, local)?,
            Schema::LocalTimestampMicros => self.time(1_000, local)?,
            Schema::LocalTimestampNanos => self.time(1, local)?,
            Schema::Enum(symbols) => {
                let at = self.left.long()?;
                let symbol = usize::try_from(at).ok().and_then(|at| symbols.symbols.get(at));
                symbol.ok_or(Error::Branch(at))?.clone().into()
            }
            Schema::Union(union) => {
                let branch = self.left.long()?;
                let schema = usize::try_from(branch).ok().and_then(|branch| union.variants().get(branch));
                self.value(schema.ok_or(Error::Branch(branch))?, depth + 1)?
            }
            Schema::Record(record) => {
                let mut fields = Map::new();
                for field in &record.fields {
                    fields.insert(field.name.clone(), self.value(&field.schema, depth + 1)?);
                }
                fields.into()
            }
            Schema::Array(array) => {
                let mut items = Vec::new();
                self.blocks(|reading| {
                    items.push(reading.value(&array.items, depth + 1)?);
                    Ok(())
                })?;
                items.into()
            }
            Schema::Map(map) => {
                let mut entries = Map::new();
                self.blocks(|reading| {
                    let key = reading.left.string()?.to_owned();
                    entries.insert(key, reading.value(&map.types, depth + 1)?);
                    Ok(())
                })?;
                entries.into()
            }
        })
    }

    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            let count = self.left.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.left.long()?; // the block's size in bytes, for readers that skip it
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }

    fn fixed(&mut self, size: usize) -> Result<&'r [u8], Error> {
        self.left.take(i64::try_from(size).unwrap_or(i64::MAX))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.fixed(N)?.try_into().map_err(|_| Error::Truncated)
    }

    /// A time of so many nanoseconds to its unit; as the number that it is where there is no such instant.
    fn time(&mut self, nanos: i128, shown: impl Fn(&str) -> String) -> Result<Json, Error> {
        let count = self.left.long()?;
        Ok(instant::of_nanos(i128::from(count) * nanos).map_or(count.into(), |text| shown(&text).into()))
    }
}

fn local(text: &str) -> String {
    text.trim_end_matches('Z').to_owned()
}

/// As Avro's and Protobuf's JSON have them: what is no number in JSON is a text.
pub(crate) fn number(value: f64) -> Json {
    let named = || {
        if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
    };
    Number::from_f64(value).map_or_else(|| named().into(), Json::Number)
}

fn latin(bytes: &[u8]) -> Json {
    bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into()
}

fn uuid(bytes: &[u8]) -> Json {
    if bytes.len() != 16 {
        return latin(bytes);
    }
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        text += if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        text += &format!("{byte:02x}");
    }
    text.into()
}

/// Of at most 16 bytes; a longer one is shown as its bytes.
fn decimal_text(bytes: &[u8], scale: usize) -> Json {
    let fill = if bytes.first().is_some_and(|first| *first >= 0x80) { 0xff } else { 0 };
    let mut wide = [fill; 16];
    let place = 16_usize.checked_sub(bytes.len()).and_then(|start| wide.get_mut(start..));
    let Some(place) = place else { return latin(bytes) };
    place.copy_from_slice(bytes);
    let unscaled = i128::from_be_bytes(wide);
    if scale == 0 {
        return i64::try_from(unscaled).map_or_else(|_| unscaled.to_string().into(), Json::from);
    }
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" }).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::datum::Maker;
    use serde_json::json;
    use tidemark_schemas::avro::{put_bytes, put_long};

    fn schema(kind: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{kind}}}]}}"#)
    }

    fn logical(of: &str, name: &str) -> String {
        format!(r#"{{"type":"{of}","logicalType":"{name}"}}"#)
    }

    /// What was written comes back as it was written.
    #[test]
    fn values_come_back_as_they_were_written() {
        for (kind, value) in [
            (r#"["null","long"]"#.to_owned(), json!(7)),
            (r#"["null","long"]"#.to_owned(), json!(null)),
            (r#""double""#.to_owned(), json!(0.1)),
            (r#""float""#.to_owned(), json!(0.1)),
            (r#""bytes""#.to_owned(), json!("abc")),
            (logical("long", "timestamp-millis"), json!("2026-01-01T10:00:00.5Z")),
            (logical("long", "timestamp-micros"), json!("2026-01-01T10:00:00Z")),
            (logical("long", "local-timestamp-millis"), json!(7)),
            (logical("int", "date"), json!("2026-01-01T00:00:00Z")),
            (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#.to_owned(), json!("B")),
            (
                r#"{"type":"map","values":{"type":"array","items":"string"}}"#.to_owned(),
                json!({"a": ["b", "c"], "d": []}),
            ),
            (r#"{"type":"record","name":"S","fields":[{"name":"y","type":"boolean"}]}"#.to_owned(), json!({"y": true})),
            (r#"{"type":"bytes","logicalType":"decimal","precision":20}"#.to_owned(), json!(-129)),
            (
                r#"["null",{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}]"#.to_owned(),
                json!({"next": {"next": null}}),
            ),
        ] {
            let avsc = schema(&kind);
            let datum = Maker::new(&avsc, &[]).unwrap().datum(&json!({"x": value})).unwrap();
            let shown = Readable::new(&avsc).unwrap().json(&datum).unwrap();
            let expected = match kind.as_str() {
                date if date.contains("date") => json!("2026-01-01"),
                local if local.contains("local") => json!("1970-01-01T00:00:00.007"),
                _ => value,
            };
            assert_eq!(shown["x"], expected, "{kind}");
        }
    }

    #[test]
    fn what_the_maker_does_not_write_is_shown_too() {
        let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#;
        let uuid = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
        let (mut cents, mut id) = (Vec::new(), Vec::new());
        put_bytes(&mut cents, &[0xff, 0xfb]);
        id.extend(0..16);
        for (kind, datum, shown) in [
            (decimal, cents, "-0.05"),
            (uuid, id, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
            (r#"{"type":"fixed","name":"F","size":2}"#, vec![0xe9, 0x41], "éA"),
        ] {
            assert_eq!(Readable::new(&schema(kind)).unwrap().json(&datum).unwrap()["x"], shown, "{kind}");
        }
    }

    /// A datum that lies about its length costs no more than its limits.
    #[test]
    fn bad_data_are_refused() {
        let shown = |kind: &str, datum: &[u8]| Readable::new(&schema(kind)).unwrap().json(datum).unwrap_err();
        let mut many = Vec::new();
        put_long(&mut many, i64::MAX);
        assert!(shown(r#"{"type":"array","items":"null"}"#, &many).contains("more than 100000 values"));
        assert!(shown("\"long\"", &[2, 2]).contains("left over"));
        assert!(shown("\"string\"", &[2, 0xff]).contains("UTF-8"));
        assert!(shown(r#"["null","long"]"#, &[8]).contains("no branch"));
        let list = r#"["null",{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}]"#;
        assert!(shown(list, &[2; 200]).contains("deeper"));
    }
}
