//! Records for tests, from JSON: what a test does not give and the job does not read is filled in.

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, NamesRef, ResolvedSchema, UuidSchema};
use serde_json::Value as Json;
use tidemark_schemas::avro::{Avro, put_bytes, put_long};

/// Deepest nesting that is filled in: a schema may name itself.
const DEPTH_MAX: usize = 16;

/// Makes data of one schema.
pub struct Maker {
    schema: Schema,
    /// Fields that a record must give.
    needed: Vec<String>,
}

/// What is wrong with a value: the path to it, and the rule.
type Fault = String;

impl Maker {
    /// Of a schema; `needed` are the fields that are not filled in.
    ///
    /// # Errors
    /// It is not an Avro schema.
    pub fn new(avsc: &str, needed: &[String]) -> Result<Self, String> {
        Ok(Self { schema: tidemark_schemas::resolve::parse(avsc)?, needed: needed.to_vec() })
    }

    /// The datum of a record.
    ///
    /// # Errors
    /// The first field that does not fit, and the fix.
    pub fn datum(&self, record: &Json) -> Result<Vec<u8>, Fault> {
        let Json::Object(given) = record else { return Err("a record is a map of fields and values".to_owned()) };
        let resolved = ResolvedSchema::new(&self.schema).map_err(|error| error.to_string())?;
        let making = Making { names: resolved.get_names(), needed: &self.needed };
        if let Schema::Record(schema) = &self.schema {
            let known = || schema.fields.iter().map(|field| field.name.as_str());
            if let Some(name) = given.keys().find(|name| known().all(|field| field != name.as_str())) {
                return Err(format!(
                    "there is no field `{name}`; {}",
                    crate::near::advice(name, known().collect::<Vec<_>>())
                ));
            }
        }
        let mut out = Vec::new();
        making.put(&self.schema, Some(record), "", 0, &mut out)?;
        Ok(out)
    }
}

struct Making<'m> {
    names: &'m NamesRef<'m>,
    needed: &'m [String],
}

impl Making<'_> {
    /// A default of bytes, in Avro: it is a text of one character up to `U+00FF` for each. None of another type.
    fn default_bytes(&self, schema: &Schema, default: &Json) -> Option<Vec<u8>> {
        let schema = match schema {
            Schema::Ref { name } => self.names.get(name).copied()?,
            schema => schema,
        };
        let bytes: Option<Vec<u8>> = default.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let fixed = match schema {
            Schema::Bytes => None,
            Schema::Fixed(fixed) => Some(fixed.size),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => None,
                InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
            },
            _ => return None,
        };
        let bytes = bytes.filter(|bytes| fixed.is_none_or(|size| size == bytes.len()))?;
        let mut out = Vec::new();
        match fixed {
            Some(_) => out = bytes,
            None => put_bytes(&mut out, &bytes),
        }
        Some(out)
    }

    fn put(
        &self,
        schema: &Schema,
        json: Option<&Json>,
        path: &str,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let wrong = |wanted: &str| {
            let found = json.map_or("nothing".to_owned(), Json::to_string);
            Err(format!("`{path}` is {wanted}, not {found}"))
        };
        match (schema, json) {
            (Schema::Ref { name }, _) => match self.names.get(name) {
                Some(schema) if depth < DEPTH_MAX => self.put(schema, json, path, depth + 1, out),
                _ => wrong("nested too deep"),
            },
            (Schema::Record(record), _) => {
                for field in &record.fields {
                    let name = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
                    let given = json.and_then(|json| json.get(&field.name));
                    if let (None, Some(default)) = (given, &field.default)
                        && let Some(bytes) = self.default_bytes(&field.schema, default)
                    {
                        out.extend(bytes);
                        continue;
                    }
                    let value = given.or(field.default.as_ref());
                    let nullable = matches!(&field.schema, Schema::Union(union) if union.is_nullable());
                    if value.is_none() && !nullable && self.needed.contains(&name) {
                        return Err(format!("`{name}` is missing; the job reads it, so a test must give it"));
                    }
                    self.put(&field.schema, value, &name, depth + 1, out)?;
                }
                Ok(())
            }
            (Schema::Union(union), _) => {
                let variants = union.variants();
                let null = variants.iter().position(|variant| matches!(variant, Schema::Null));
                if json.is_none_or(Json::is_null)
                    && let Some(null) = null
                {
                    put_long(out, null as i64);
                    return Ok(());
                }
                let mut why = format!("`{path}` has no type");
                for (branch, variant) in variants.iter().enumerate().filter(|(branch, _)| Some(*branch) != null) {
                    let mut tried = Vec::new();
                    put_long(&mut tried, branch as i64);
                    match self.put(variant, json, path, depth + 1, &mut tried) {
                        Ok(()) => {
                            out.extend(tried);
                            return Ok(());
                        }
                        Err(error) => why = error,
                    }
                }
                Err(why)
            }
            (Schema::Null, _) => Ok(()),
            (Schema::Boolean, None) => {
                out.push(0);
                Ok(())
            }
            (Schema::Boolean, Some(Json::Bool(value))) => {
                out.push(u8::from(*value));
                Ok(())
            }
            (Schema::Boolean, _) => wrong("true or false"),
            (Schema::Float, _) => match json.map_or(Some(0.0), Json::as_f64) {
                Some(value) => {
                    out.extend((value as f32).to_le_bytes());
                    Ok(())
                }
                None => wrong("a number"),
            },
            (Schema::Double, _) => match json.map_or(Some(0.0), Json::as_f64) {
                Some(value) => {
                    out.extend(value.to_le_bytes());
                    Ok(())
                }
                None => wrong("a number"),
            },
            (Schema::Enum(symbols), _) => {
                let position =
                    |json: &Json| symbols.symbols.iter().position(|symbol| Some(symbol.as_str()) == json.as_str());
                match json.map_or(Some(0), position) {
                    Some(symbol) => {
                        put_long(out, symbol as i64);
                        Ok(())
                    }
                    None => wrong(&format!("one of {}", symbols.symbols.join(", "))),
                }
            }
            (Schema::Array(array), _) => match json {
                None => {
                    put_long(out, 0);
                    Ok(())
                }
                Some(Json::Array(items)) => {
                    for item in items {
                        put_long(out, 1);
                        self.put(&array.items, Some(item), &format!("{path}[]"), depth + 1, out)?;
                    }
                    {
                        put_long(out, 0);
                        Ok(())
                    }
                }
                Some(_) => wrong("a list"),
            },
            (Schema::Map(map), _) => match json {
                None => {
                    put_long(out, 0);
                    Ok(())
                }
                Some(Json::Object(entries)) => {
                    for (key, value) in entries {
                        put_long(out, 1);
                        put_bytes(out, key.as_bytes());
                        self.put(&map.types, Some(value), &format!("{path}.{key}"), depth + 1, out)?;
                    }
                    {
                        put_long(out, 0);
                        Ok(())
                    }
                }
                Some(_) => wrong("a map"),
            },
            (Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)), _) => {
                out.extend(std::iter::repeat_n(0, fixed.size));
                Ok(())
            }
            (Schema::BigDecimal, None) => {
                // A zero, and its scale.
                put_bytes(out, &[2, 0, 0]);
                Ok(())
            }
            (Schema::Decimal(decimal), _)
                if matches!(decimal.inner, InnerDecimalSchema::Bytes) && decimal.scale == 0 =>
            {
                let whole = |json: &Json| json.as_i64().map(i128::from).or_else(|| json.as_str()?.parse().ok());
                match json.map_or(Some(0), whole) {
                    Some(value) => {
                        value.put(out);
                        Ok(())
                    }
                    None => wrong("a whole number"),
                }
            }
            (Schema::Decimal(decimal), _) => {
                let scale = decimal.scale;
                let unscaled = match json {
                    None => Some(0),
                    Some(Json::String(text)) => unscaled(text, scale),
                    Some(Json::Number(number)) => unscaled(&number.to_string(), scale),
                    Some(_) => None,
                };
                let Some(unscaled) = unscaled else {
                    return wrong(&format!("a decimal of at most {scale} digits after the point"));
                };
                match &decimal.inner {
                    InnerDecimalSchema::Bytes => unscaled.put(out),
                    InnerDecimalSchema::Fixed(fixed) => match big_endian(unscaled, fixed.size) {
                        Some(bytes) => out.extend(bytes),
                        None => return wrong(&format!("a decimal that fits {} bytes", fixed.size)),
                    },
                }
                Ok(())
            }
            (Schema::String | Schema::Bytes | Schema::Uuid(_), _) => match json {
                None => {
                    put_bytes(out, b"");
                    Ok(())
                }
                Some(Json::String(text)) => {
                    put_bytes(out, text.as_bytes());
                    Ok(())
                }
                Some(Json::Number(number)) if matches!(schema, Schema::String) => {
                    put_bytes(out, number.to_string().as_bytes());
                    Ok(())
                }
                Some(_) => wrong("a text"),
            },
            (Schema::Int | Schema::Long, _) => match json.map_or(Some(0), Json::as_i64) {
                Some(value) => {
                    put_long(out, value);
                    Ok(())
                }
                None => wrong("a whole number"),
            },
            _ => match (time_unit(schema), json) {
                (Some(_), None) => {
                    put_long(out, 0);
                    Ok(())
                }
                (Some(unit), Some(json)) => match instant(json) {
                    Some(ms) if unit > 0 => {
                        put_long(out, ms.saturating_mul(unit));
                        Ok(())
                    }
                    Some(ms) => {
                        put_long(out, ms.div_euclid(-unit));
                        Ok(())
                    }
                    None => wrong("an instant, RFC 3339 or milliseconds"),
                },
                (None, None) => Err(format!("`{path}` is of a type that tests cannot fill in")),
                (None, Some(_)) => wrong("of a type that tests cannot write"),
            },
        }
    }
}

/// The digits of `12.30` without the point, with so many after it.
fn unscaled(text: &str, scale: usize) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= scale && fraction.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| format!("{whole}{fraction:0<scale$}").parse().ok()).flatten()
}

/// In two's complement of so many bytes; none where it does not fit.
fn big_endian(value: i128, size: usize) -> Option<Vec<u8>> {
    let bytes = value.to_be_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    let Some(more) = size.checked_sub(bytes.len()) else {
        let (cut, kept) = bytes.split_at(bytes.len() - size);
        let same_sign = kept.first().is_some_and(|first| (*first >= 0x80) == (value < 0));
        return (same_sign && cut.iter().all(|byte| *byte == fill)).then(|| kept.to_vec());
    };
    Some(std::iter::repeat_n(fill, more).chain(bytes).collect())
}

/// So many units make a millisecond; negative: milliseconds make a unit.
fn time_unit(schema: &Schema) -> Option<i64> {
    match schema {
        Schema::TimestampMillis | Schema::LocalTimestampMillis | Schema::TimeMillis => Some(1),
        Schema::TimestampMicros | Schema::LocalTimestampMicros | Schema::TimeMicros => Some(1_000),
        Schema::TimestampNanos | Schema::LocalTimestampNanos => Some(1_000_000),
        Schema::Date => Some(-86_400_000),
        _ => None,
    }
}

pub(crate) fn instant(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| crate::instant::parse(json.as_str()?))
}
