//! Values without parts: numbers, text, bytes, symbols, times.

use tidemark_schemas::avro::{put_bytes, put_long};
use uuid::Uuid;

use super::encode::{Encoder, Text};
use super::{Decimal, Form, Node, Time, Uuids, decimal, time};
use crate::draft::NumberFault;
use crate::json::kind;
use crate::number;
use crate::rule::{Rule, shown};

/// Symbols of an enum, and branches of a union, that are told.
const TOLD: usize = 12;

impl Node {
    /// Whether a value of this kind of JSON may be of the type, going by its first byte.
    pub(super) fn takes(&self, text: &str) -> bool {
        let first = text.as_bytes().first();
        let number = matches!(first, Some(b'-' | b'0'..=b'9'));
        let quoted = first == Some(&b'"');
        match self {
            Self::Null => first == Some(&b'n'),
            Self::Boolean => matches!(first, Some(b't' | b'f')),
            Self::Int | Self::Long | Self::Float | Self::Double => number,
            Self::Text | Self::Bytes | Self::Fixed(_) | Self::Enum(_) | Self::Uuid(_) => quoted,
            Self::Decimal(_) | Self::Time(_) => number || quoted,
            Self::Array(_) => first == Some(&b'['),
            Self::Map(_) | Self::Record(_) => first == Some(&b'{'),
            Self::Union(_) => true,
            Self::Opaque(..) => false,
        }
    }
}

impl Form {
    /// What a type wants, for people.
    pub(super) fn told(&self, node: usize) -> String {
        match self.node(node) {
            Node::Union(branches) => {
                let told: Vec<String> = branches.iter().take(TOLD).map(|branch| self.told(*branch)).collect();
                told.join(" or ")
            }
            Node::Null => "null".to_owned(),
            Node::Boolean => "true or false".to_owned(),
            Node::Int => format!("an integer from {} to {}", i32::MIN, i32::MAX),
            Node::Long => "an integer of 64 bits".to_owned(),
            Node::Float | Node::Double => "a number".to_owned(),
            Node::Text => "text".to_owned(),
            Node::Bytes => "bytes as text of the characters U+0000 to U+00FF".to_owned(),
            Node::Fixed(size) => format!("{size} bytes as text of the characters U+0000 to U+00FF"),
            Node::Enum(symbols) => {
                let told: Vec<&str> = symbols.iter().take(TOLD).map(String::as_str).collect();
                format!("one of {}{}", told.join(", "), if symbols.len() > TOLD { " and others" } else { "" })
            }
            Node::Array(_) => "an array".to_owned(),
            Node::Map(_) | Node::Record(_) => "an object".to_owned(),
            Node::Decimal(Decimal { precision, scale, .. }) => {
                format!("a number, or a number as text, of at most {precision} digits, {scale} of them after the point")
            }
            Node::Uuid(_) => "a UUID of 36 characters".to_owned(),
            Node::Time(time) => time.fix().trim_start_matches("send ").to_owned(),
            Node::Opaque(name, _) => format!("{name}, which only an Avro file can hold"),
        }
    }
}

impl Encoder<'_> {
    pub(super) fn leaf(&mut self, node: usize, text: &str, out: &mut Vec<u8>) {
        let form = self.form;
        match form.node(node) {
            taker if !taker.takes(text) => self.mistaken(node, text),
            Node::Boolean => out.push(u8::from(text == "true")),
            Node::Int => self.integer(node, text, (i64::from(i32::MIN), i64::from(i32::MAX)), out),
            Node::Long => self.integer(node, text, (i64::MIN, i64::MAX), out),
            Node::Float => match text.parse::<f32>() {
                Ok(value) if value.is_finite() => out.extend_from_slice(&value.to_le_bytes()),
                _ => self.out_of_range(node, text, "beyond what a float holds"),
            },
            Node::Double => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => out.extend_from_slice(&value.to_le_bytes()),
                _ => self.out_of_range(node, text, "beyond what a double holds"),
            },
            Node::Decimal(decimal) => self.decimal(node, *decimal, text, out),
            Node::Time(time) if !text.starts_with('"') => {
                let range = time.range();
                self.integer(node, text, range, out);
            }
            Node::Null => {}
            quoted => match serde_json::from_str::<Text<'_>>(text) {
                Ok(Text(unquoted)) => self.text(node, quoted, &unquoted, out),
                Err(error) => self.malformed(&error),
            },
        }
    }

    fn text(&mut self, node: usize, kind: &Node, text: &str, out: &mut Vec<u8>) {
        match kind {
            Node::Bytes => {
                if let Some(bytes) = self.code_points(node, text) {
                    put_bytes(out, &bytes);
                }
            }
            Node::Fixed(size) => match self.code_points(node, text) {
                Some(bytes) if bytes.len() == *size => out.extend_from_slice(&bytes),
                Some(bytes) => {
                    let why = |path: &str| format!("{path} has {} bytes, not {size}", bytes.len());
                    self.wrong(Rule::Length, why, || format!("send exactly {size}"));
                }
                None => {}
            },
            Node::Enum(symbols) => self.symbol(node, symbols, text, out),
            Node::Uuid(uuids) => self.uuid(*uuids, text, out),
            Node::Time(time) => self.time(*time, text, out),
            _ => put_bytes(out, text.as_bytes()),
        }
    }

    fn mistaken(&mut self, node: usize, text: &str) {
        let (found, form) = (kind(text), self.form);
        let wanted = form.told(node);
        self.wrong(Rule::Type, |path| format!("{path} is {found}, not {wanted}"), || format!("send {wanted}"));
    }

    fn out_of_range(&mut self, node: usize, text: &str, why: &str) {
        let (found, wanted) = (shown(text), self.form.told(node));
        self.wrong(Rule::Range, |path| format!("{path} is {found}, which is {why}"), || format!("send {wanted}"));
    }

    fn integer(&mut self, node: usize, text: &str, (min, max): (i64, i64), out: &mut Vec<u8>) {
        match number::integer(text) {
            Ok(value) if (min..=max).contains(&value) => put_long(out, value),
            Ok(_) => self.out_of_range(node, text, &format!("not from {min} to {max}")),
            Err(NumberFault::Range) => self.out_of_range(node, text, "beyond 64 bits"),
            Err(NumberFault::Fraction) => {
                let (found, wanted) = (shown(text), self.form.told(node));
                let why = |path: &str| format!("{path} is {found}, which is not an integer");
                self.wrong(Rule::Integer, why, || format!("send {wanted}"));
            }
        }
    }

    fn decimal(&mut self, node: usize, kind: Decimal, text: &str, out: &mut Vec<u8>) {
        let Decimal { precision, scale, fixed } = kind;
        let unquoted = match text.strip_prefix('"') {
            Some(_) => match serde_json::from_str::<Text<'_>>(text) {
                Ok(Text(unquoted)) => unquoted,
                Err(error) => return self.malformed(&error),
            },
            None => text.into(),
        };
        let (rule, why) = match decimal::unscaled(&unquoted, precision, scale) {
            Ok(bytes) => match fixed.map(|size| decimal::widened(&bytes, size)) {
                None => return put_bytes(out, &bytes),
                Some(Some(wide)) => return out.extend_from_slice(&wide),
                Some(None) => (Rule::Range, "more than its bytes hold".to_owned()),
            },
            Err(decimal::Fault::Syntax) => (Rule::Type, "not a number".to_owned()),
            Err(decimal::Fault::Scale) => (Rule::Scale, format!("finer than {scale} digits after the point")),
            Err(decimal::Fault::Precision) => (Rule::Range, format!("more than {precision} digits")),
        };
        let (found, wanted) = (shown(&unquoted), self.form.told(node));
        let fix = || format!("send {wanted}; nothing is rounded");
        self.wrong(rule, |path| format!("{path} is {found}, which is {why}"), fix);
    }

    fn symbol(&mut self, node: usize, symbols: &[String], text: &str, out: &mut Vec<u8>) {
        if let Some(at) = symbols.iter().position(|symbol| symbol == text) {
            return put_long(out, i64::try_from(at).unwrap_or(0));
        }
        let (found, wanted) = (shown(text), self.form.told(node));
        let hint = self.guess(text, symbols.iter().map(String::as_str));
        let fix = || format!("{hint}send {wanted}");
        self.wrong(Rule::Symbol, |path| format!("{path} is {found:?}, which is none of its symbols"), fix);
    }

    fn uuid(&mut self, uuids: Uuids, text: &str, out: &mut Vec<u8>) {
        let Some(id) = Uuid::parse_str(text).ok().filter(|_| text.len() == 36) else {
            let found = shown(text);
            let fix = || "send a UUID of 36 characters".to_owned();
            return self.wrong(Rule::Uuid, |path| format!("{path} is {found:?}, which is not a UUID"), fix);
        };
        let mut buffer = Uuid::encode_buffer();
        match uuids {
            Uuids::Text => put_bytes(out, id.hyphenated().encode_lower(&mut buffer).as_bytes()),
            Uuids::Bytes => put_bytes(out, id.as_bytes()),
            Uuids::Fixed => out.extend_from_slice(id.as_bytes()),
        }
    }

    fn time(&mut self, kind: Time, text: &str, out: &mut Vec<u8>) {
        let (rule, why) = match kind.parse(text) {
            Ok(value) => return put_long(out, value),
            Err(time::Fault::Format(why)) => (Rule::TimeFormat, why),
            Err(time::Fault::Range) => (Rule::Range, "beyond 64 bits".to_owned()),
        };
        let found = shown(text);
        let name = kind.name();
        self.wrong(rule, |path| format!("{path} is {found:?}, which is not {name}: {why}"), || kind.fix());
    }

    /// Bytes stand in JSON as text of the code points 0 to 255, as in Avro's own JSON.
    fn code_points(&mut self, node: usize, text: &str) -> Option<Vec<u8>> {
        let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
        if bytes.is_none() {
            let wanted = self.form.told(node);
            let why = |path: &str| format!("{path} has a character beyond U+00FF, which is no byte");
            self.wrong(Rule::Range, why, || format!("send {wanted}"));
        }
        bytes
    }
}
