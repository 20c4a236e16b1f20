//! Evaluating checked expressions on a record.

use super::call::Call;
use super::quick::Test;
use std::cmp::Ordering;
use std::rc::Rc;
use tidemark_core::value::Value;

/// A value under way: like [`Value`], but texts may have been made by the expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Val<'a> {
    /// Of the record, of the expression, or a number.
    Plain(Value<'a>),
    /// A text that was put together.
    Made(Rc<str>),
}

/// A text, whoever owns it.
pub type Text<'v> = &'v str;

impl<'a> Val<'a> {
    /// Null.
    pub const NULL: Val<'static> = Val::Plain(Value::Null);

    /// The same, borrowed.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::Made(text) => Value::Text(text),
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Plain(Value::Null))
    }

    pub(super) fn text(&self) -> Result<Text<'_>, EvalError> {
        match self.value() {
            Value::Text(text) => Ok(text),
            other => Err(EvalError::unfit("a string", &other)),
        }
    }
}

/// Why an expression has no value on a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);

impl EvalError {
    pub(super) fn unfit(wanted: &str, found: &Value<'_>) -> Self {
        Self(format!("{wanted} is needed, not {}", shown(found)))
    }
}

/// A value for people, cut to a line.
pub fn shown(value: &Value<'_>) -> String {
    const MOST: usize = 100;
    let cut = |text: &str| {
        let head: String = text.chars().take(MOST).collect();
        if head.len() < text.len() { format!("{head:?}…") } else { format!("{head:?}") }
    };
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Long(value) => value.to_string(),
        Value::Double(value) => format!("{value:?}"),
        Value::Integer(value) => value.to_string(),
        Value::Text(text) => cut(text),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Time(ms) => crate::instant::rfc3339(*ms),
    }
}

/// A checked expression, ready to run.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "one for each form of the language")]
pub enum Node {
    Null,
    Boolean(bool),
    Long(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Time(i64),
    /// Field of the record, by slot.
    Field(usize),
    /// `let`, by number.
    Let(usize),
    Not(Box<Node>),
    /// All of them, from the left.
    And(Vec<Node>),
    /// One of them, from the left.
    Or(Vec<Node>),
    If(Box<[Node; 3]>),
    Equal(Box<[Node; 2]>, bool),
    Order(Order, Box<[Node; 2]>),
    Arith(Arith, Box<[Node; 2]>),
    Negate(Box<Node>),
    In(Box<Node>, Vec<Node>),
    Call(Call, Vec<Node>),
    /// The characters of a field that is a text.
    Size(usize),
    /// What is asked of one field.
    Test(Test),
    /// As [`Node::Order`], of two whole numbers or two instants.
    Wholes(Order, Box<[Node; 2]>),
}

/// Comparisons of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like their signs")]
pub enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Sums and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like their signs")]
pub enum Arith {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// What an expression sees.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'f, 'a> {
    /// The fields that are used, by slot. A text may stand as the bytes that it is, where only [`Node::Size`] and [`Node::Test`]
    /// name it.
    pub fields: &'f [Value<'a>],
    /// The `let`s before it.
    pub lets: &'f [Val<'a>],
}

impl Node {
    /// Its value.
    ///
    /// # Errors
    /// A value that the operation does not take.
    pub fn eval<'a>(&'a self, frame: Frame<'_, 'a>) -> Result<Val<'a>, EvalError> {
        let plain = |value| Ok(Val::Plain(value));
        match self {
            Self::Null => plain(Value::Null),
            Self::Boolean(value) => plain(Value::Boolean(*value)),
            Self::Long(value) => plain(Value::Long(*value)),
            Self::Double(value) => plain(Value::Double(*value)),
            Self::Text(text) => plain(Value::Text(text)),
            Self::Bytes(bytes) => plain(Value::Bytes(bytes)),
            Self::Time(ms) => plain(Value::Time(*ms)),
            Self::Field(slot) => plain(frame.fields.get(*slot).copied().unwrap_or(Value::Null)),
            Self::Let(number) => Ok(frame.lets.get(*number).cloned().unwrap_or(Val::NULL)),
            Self::Not(operand) => plain(Value::Boolean(!operand.holds(frame)?)),
            Self::And(all) => plain(Value::Boolean(decided(all, frame, false)?)),
            Self::Or(all) => plain(Value::Boolean(decided(all, frame, true)?)),
            Self::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                if condition.holds(frame)? { then.eval(frame) } else { otherwise.eval(frame) }
            }
            Self::Equal(both, wanted) => {
                let [a, b] = &**both;
                plain(Value::Boolean(equal(&a.eval(frame)?.value(), &b.eval(frame)?.value()) == *wanted))
            }
            Self::Order(order, both) | Self::Wholes(order, both) => {
                let [a, b] = &**both;
                let (a, b) = (a.eval(frame)?, b.eval(frame)?);
                plain(Value::Boolean(order.holds(compare(&a.value(), &b.value())?)))
            }
            Self::Arith(arith, both) => {
                let [a, b] = &**both;
                arith.apply(&a.eval(frame)?, &b.eval(frame)?)
            }
            Self::Negate(operand) => match operand.eval(frame)?.value() {
                Value::Long(n) => n.checked_neg().map(|n| Val::Plain(Value::Long(n))).ok_or_else(overflow),
                Value::Integer(n) => match n.checked_neg() {
                    Some(n) => plain(Value::Integer(n)),
                    None => Err(too_big()),
                },
                Value::Double(n) => plain(Value::Double(-n)),
                other => Err(EvalError::unfit("a number", &other)),
            },
            Self::In(operand, list) => {
                let operand = operand.eval(frame)?;
                for item in list {
                    if equal(&operand.value(), &item.eval(frame)?.value()) {
                        return plain(Value::Boolean(true));
                    }
                }
                plain(Value::Boolean(false))
            }
            Self::Size(slot) => {
                self.whole(frame).map(|n| Val::Plain(Value::Long(n))).ok_or_else(|| unfit(*slot, frame))
            }
            Self::Test(test) => {
                let truth = test.truth(frame.fields).map(|truth| Val::Plain(Value::Boolean(truth)));
                truth.ok_or_else(|| unfit(test.slot, frame))
            }
            Self::Call(Call::Coalesce, args) => {
                for arg in args {
                    let value = arg.eval(frame)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                plain(Value::Null)
            }
            Self::Call(call, args) => call.apply(args, frame),
        }
    }

    /// As a condition.
    ///
    /// # Errors
    /// As [`Node::eval`]; null is no condition.
    pub fn holds(&self, frame: Frame<'_, '_>) -> Result<bool, EvalError> {
        if let Some(truth) = self.truth(frame) {
            return Ok(truth);
        }
        match self.eval(frame)?.value() {
            Value::Boolean(value) => Ok(value),
            other => Err(EvalError::unfit("true or false", &other)),
        }
    }

    /// Gives every field that it reads another slot, and every `let` another number.
    pub fn renumber(&mut self, slot: &dyn Fn(usize) -> usize, number: &dyn Fn(usize) -> usize) {
        self.each(&mut |node| match node {
            Self::Field(field) | Self::Size(field) | Self::Test(Test { slot: field, .. }) => *field = slot(*field),
            Self::Let(at) => *at = number(*at),
            _ => {}
        });
    }

    /// Visits it and every part of it.
    pub fn each(&mut self, visit: &mut dyn FnMut(&mut Node)) {
        visit(self);
        match self {
            Self::Not(node) | Self::Negate(node) => node.each(visit),
            Self::And(nodes) | Self::Or(nodes) | Self::Call(_, nodes) => {
                nodes.iter_mut().for_each(|node| node.each(visit))
            }
            Self::Equal(nodes, _) | Self::Order(_, nodes) | Self::Arith(_, nodes) | Self::Wholes(_, nodes) => {
                nodes.iter_mut().for_each(|node| node.each(visit));
            }
            Self::If(nodes) => nodes.iter_mut().for_each(|node| node.each(visit)),
            Self::In(node, list) => {
                node.each(visit);
                list.iter_mut().for_each(|node| node.each(visit));
            }
            Self::Null
            | Self::Boolean(_)
            | Self::Long(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Bytes(_)
            | Self::Time(_)
            | Self::Field(_)
            | Self::Let(_)
            | Self::Size(_)
            | Self::Test(_) => {}
        }
    }
}

/// `&&` (`decisive` is false) and `||` (true): one decisive side decides, even when the other fails, as CEL has it.
fn decided(all: &[Node], frame: Frame<'_, '_>, decisive: bool) -> Result<bool, EvalError> {
    let mut failed = None;
    for node in all {
        match node.holds(frame) {
            Ok(truth) if truth == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(!decisive), Err)
}

/// A field that a condition cannot be asked of.
fn unfit(slot: usize, frame: Frame<'_, '_>) -> EvalError {
    EvalError::unfit("a value", frame.fields.get(slot).unwrap_or(&Value::Null))
}

fn too_big() -> EvalError {
    EvalError("the result does not fit 128 bits".to_owned())
}

pub(super) fn overflow() -> EvalError {
    EvalError("the result does not fit 64 bits".to_owned())
}

impl Order {
    /// With its sides changed.
    pub(super) fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// NaN is in no order with anything.
    #[inline]
    pub(super) fn holds(self, ordering: Option<Ordering>) -> bool {
        match self {
            Self::Less => ordering == Some(Ordering::Less),
            Self::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => ordering == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

pub(super) fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, other) | (other, Value::Null) => matches!(other, Value::Null),
        (Value::Boolean(a), Value::Boolean(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        _ => compare(a, b).is_ok_and(|ordering| ordering == Some(Ordering::Equal)),
    }
}

pub(super) fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Option<Ordering>, EvalError> {
    Ok(match (a, b) {
        (Value::Long(a), Value::Long(b)) | (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
        (Value::Integer(a), Value::Long(b)) => Some(a.cmp(&i128::from(*b))),
        (Value::Long(a), Value::Integer(b)) => Some(i128::from(*a).cmp(b)),
        (Value::Long(a), Value::Double(b)) => against(i128::from(*a), *b),
        (Value::Double(a), Value::Long(b)) => against(i128::from(*b), *a).map(Ordering::reverse),
        (Value::Integer(a), Value::Double(b)) => against(*a, *b),
        (Value::Double(a), Value::Integer(b)) => against(*b, *a).map(Ordering::reverse),
        (Value::Null, other) | (other, _) => return Err(EvalError::unfit("two values of one type", other)),
    })
}

/// A whole number against a double, exactly.
fn against(whole: i128, double: f64) -> Option<Ordering> {
    const LIMIT: f64 = 1.7e38; // below 2^127, above any whole number that fits a double's 53 bits times a window's records
    if double.is_nan() {
        return None;
    }
    if double >= LIMIT || double <= -LIMIT {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let rest = double - double.trunc();
    Some(whole.cmp(&(double.trunc() as i128)).then(0.0_f64.partial_cmp(&rest).unwrap_or(Ordering::Equal)))
}

impl Arith {
    fn apply<'a>(self, a: &Val<'a>, b: &Val<'a>) -> Result<Val<'a>, EvalError> {
        let value = match (a.value(), b.value()) {
            (Value::Long(a), Value::Long(b)) => Value::Long(self.whole(a, b)?),
            (Value::Double(a), Value::Double(b)) => Value::Double(self.double(a, b)),
            (Value::Integer(a), Value::Integer(b)) => Value::Integer(self.big(a, b)?),
            (Value::Integer(a), Value::Long(b)) => Value::Integer(self.big(a, i128::from(b))?),
            (Value::Long(a), Value::Integer(b)) => Value::Integer(self.big(i128::from(a), b)?),
            (Value::Time(a), Value::Time(b)) if self == Self::Subtract => {
                Value::Long(a.checked_sub(b).ok_or_else(overflow)?)
            }
            (Value::Text(a), Value::Text(b)) if self == Self::Add => {
                return Ok(Val::Made(Rc::from([a, b].concat())));
            }
            (a, b) => return Err(EvalError(format!("no such operation on {} and {}", shown(&a), shown(&b)))),
        };
        Ok(Val::Plain(value))
    }

    /// None where it is divided by zero or does not fit.
    #[inline]
    pub(super) fn checked(self, a: i64, b: i64) -> Option<i64> {
        match self {
            Self::Add => a.checked_add(b),
            Self::Subtract => a.checked_sub(b),
            Self::Multiply => a.checked_mul(b),
            Self::Divide => a.checked_div(b),
            Self::Remainder => a.checked_rem(b),
        }
    }

    fn whole(self, a: i64, b: i64) -> Result<i64, EvalError> {
        if b == 0 && matches!(self, Self::Divide | Self::Remainder) {
            return Err(EvalError(format!("{a} is divided by zero")));
        }
        self.checked(a, b).ok_or_else(overflow)
    }

    fn big(self, a: i128, b: i128) -> Result<i128, EvalError> {
        match self {
            Self::Add => a.checked_add(b),
            Self::Subtract => a.checked_sub(b),
            Self::Multiply => a.checked_mul(b),
            Self::Divide | Self::Remainder if b == 0 => return Err(EvalError(format!("{a} is divided by zero"))),
            Self::Divide => a.checked_div(b),
            Self::Remainder => a.checked_rem(b),
        }
        .ok_or_else(too_big)
    }

    fn double(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Remainder => a % b,
        }
    }
}
