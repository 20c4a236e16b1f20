//! What the functions do.

use super::eval::{EvalError, Frame, Node, Val, overflow, shown};
use super::quick::characters;
use regex::Regex;
use std::rc::Rc;
use tidemark_core::value::Value;

/// Functions.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named like their names in CEL")]
pub enum Call {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    Matches(Regex),
    LowerAscii,
    UpperAscii,
    Trim,
    Substring,
    Replace,
    IndexOf,
    Int,
    Double,
    String,
    Timestamp,
    Millis,
    Part(Part),
    Coalesce,
}

/// Parts of an instant, in UTC, counted as CEL counts them: months, days of the month and of the year from 0, Sunday is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like their names in CEL")]
pub enum Part {
    FullYear,
    Month,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl Call {
    pub(super) fn apply<'a>(&self, args: &'a [Node], frame: Frame<'_, 'a>) -> Result<Val<'a>, EvalError> {
        let arg = |n: usize| args.get(n).map_or(Ok(Val::NULL), |node| node.eval(frame));
        let plain = |value| Ok(Val::Plain(value));
        let made = |text: String| Ok(Val::Made(Rc::from(text)));
        let first = arg(0)?;
        match self {
            Self::Size => match first.value() {
                Value::Text(text) => plain(Value::Long(characters(text.as_bytes()))),
                Value::Bytes(bytes) => plain(Value::Long(bytes.len() as i64)),
                other => Err(EvalError::unfit("a string", &other)),
            },
            Self::StartsWith => plain(Value::Boolean(first.text()?.starts_with(arg(1)?.text()?))),
            Self::EndsWith => plain(Value::Boolean(first.text()?.ends_with(arg(1)?.text()?))),
            Self::Contains => plain(Value::Boolean(first.text()?.contains(arg(1)?.text()?))),
            Self::Matches(regex) => plain(Value::Boolean(regex.is_match(first.text()?))),
            Self::LowerAscii => made(first.text()?.to_ascii_lowercase()),
            Self::UpperAscii => made(first.text()?.to_ascii_uppercase()),
            Self::Trim => made(first.text()?.trim().to_owned()),
            Self::Replace => made(first.text()?.replace(arg(1)?.text()?, arg(2)?.text()?)),
            Self::IndexOf => {
                let (text, wanted) = (first.text()?, arg(1)?);
                let at =
                    text.find(wanted.text()?).map_or(-1, |at| text.get(..at).map_or(0, |t| t.chars().count() as i64));
                plain(Value::Long(at))
            }
            Self::Substring => {
                substring(first.text()?, &arg(1)?.value(), &arg(2)?.value()).map(|text| Val::Made(text.into()))
            }
            Self::Int => plain(Value::Long(int(&first.value())?)),
            Self::Double => plain(Value::Double(double(&first.value())?)),
            Self::String => match first.value() {
                Value::Text(_) => Ok(first),
                Value::Long(n) => made(n.to_string()),
                Value::Integer(n) => made(n.to_string()),
                Value::Double(n) => made(n.to_string()),
                Value::Boolean(b) => made(b.to_string()),
                Value::Time(ms) => made(crate::instant::rfc3339(ms)),
                Value::Bytes(bytes) => made(
                    std::str::from_utf8(bytes).map_err(|_| EvalError("the bytes are not UTF-8".to_owned()))?.to_owned(),
                ),
                Value::Null => Err(EvalError::unfit("a value", &Value::Null)),
            },
            Self::Timestamp => match first.value() {
                Value::Time(ms) => plain(Value::Time(ms)),
                // CEL: seconds since the epoch.
                Value::Long(s) => plain(Value::Time(s.checked_mul(1_000).ok_or_else(overflow)?)),
                Value::Text(text) => crate::instant::parse_rfc3339(text)
                    .map(|ms| Val::Plain(Value::Time(ms)))
                    .ok_or_else(|| EvalError(format!("{} is not RFC 3339", shown(&Value::Text(text))))),
                other => Err(EvalError::unfit("a string", &other)),
            },
            Self::Millis => match first.value() {
                Value::Time(ms) => plain(Value::Long(ms)),
                other => Err(EvalError::unfit("a timestamp", &other)),
            },
            Self::Part(part) => match first.value() {
                Value::Time(ms) => plain(Value::Long(crate::instant::part(*part, ms))),
                other => Err(EvalError::unfit("a timestamp", &other)),
            },
            Self::Coalesce => Ok(first), // evaluated by `Node::eval`, which stops at the first value
        }
    }
}

fn int(value: &Value<'_>) -> Result<i64, EvalError> {
    match value {
        Value::Long(n) => Ok(*n),
        Value::Integer(n) => i64::try_from(*n).map_err(|_| overflow()),
        // As CEL: towards zero, and an error beyond 64 bits.
        Value::Double(n) if n.is_finite() && n.abs() < 9.2e18 => Ok(*n as i64),
        Value::Double(_) => Err(overflow()),
        Value::Time(ms) => Ok(ms.div_euclid(1_000)),
        Value::Text(text) => {
            text.parse().map_err(|_| EvalError(format!("{} is not a whole number", shown(&Value::Text(text)))))
        }
        other => Err(EvalError::unfit("a number", other)),
    }
}

fn double(value: &Value<'_>) -> Result<f64, EvalError> {
    match value {
        Value::Double(n) => Ok(*n),
        Value::Long(n) => Ok(*n as f64),
        Value::Integer(n) => Ok(*n as f64),
        Value::Text(text) => {
            text.parse().map_err(|_| EvalError(format!("{} is not a number", shown(&Value::Text(text)))))
        }
        other => Err(EvalError::unfit("a number", other)),
    }
}

/// From one character to before another.
fn substring(text: &str, from: &Value<'_>, to: &Value<'_>) -> Result<String, EvalError> {
    let length = text.chars().count() as i64;
    let place = |value: &Value<'_>, otherwise| match value {
        Value::Long(n) if (0..=length).contains(n) => Ok(*n),
        Value::Null => Ok(otherwise),
        other => Err(EvalError(format!("no character {} in a string of {length}", shown(other)))),
    };
    let (from, to) = (place(from, 0)?, place(to, length)?);
    if from > to {
        return Err(EvalError(format!("character {from} comes after {to}")));
    }
    Ok(text.chars().skip(from as usize).take((to - from) as usize).collect())
}
