//! Conditions and whole numbers, evaluated without making values and errors of them: most of what jobs ask of every record. Where
//! something fails there is no answer, and [`Node::eval`], which answers the same, says why.

use super::eval::{Frame, Node, Order, Val, equal};
use tidemark_core::value::{Type, Value};

/// What is asked of one field: what most conditions are made of.
#[derive(Debug, Clone)]
pub struct Test {
    /// The field.
    pub slot: usize,
    /// What.
    pub asked: Asked,
}

/// See [`Test`]. Its tag has a place of its own, which takes less to look at than one that is hidden in a text's capacity.
#[derive(Debug, Clone)]
#[repr(u8)]
pub enum Asked {
    /// A whole number, or an instant in milliseconds, is from the first to the second.
    Within(i64, i64),
    /// The characters of a text are.
    SizeWithin(i64, i64),
    /// A text is this one, or is not.
    Same(String, bool),
    /// A text is one of these.
    Among(Vec<String>),
}

impl Test {
    /// The answer; none where the field is null and the question is not about that.
    #[inline(always)]
    pub fn truth(&self, fields: &[Value<'_>]) -> Option<bool> {
        let field = fields.get(self.slot)?;
        match &self.asked {
            Asked::Within(from, to) => number(field).map(|n| (*from..=*to).contains(&n)),
            Asked::SizeWithin(from, to) => text(field).map(|text| size_within(text, *from, *to)),
            Asked::Same(wanted, same) => Some(text(field).is_some_and(|text| text == wanted.as_bytes()) == *same),
            Asked::Among(list) => Some(text(field).is_some_and(|text| list.iter().any(|one| one.as_bytes() == text))),
        }
    }
}

impl Node {
    fn test(slot: usize, asked: Asked) -> Self {
        Self::Test(Test { slot, asked })
    }

    /// As a condition; none when it fails or is null.
    pub fn truth(&self, frame: Frame<'_, '_>) -> Option<bool> {
        match self {
            Self::Test(test) => test.truth(frame.fields),
            Self::And(all) => decided(all, frame, false),
            Self::Or(all) => decided(all, frame, true),
            _ => self.rarer_truth(frame),
        }
    }

    fn rarer_truth(&self, frame: Frame<'_, '_>) -> Option<bool> {
        match self {
            Self::Boolean(value) => return Some(*value),
            Self::Field(slot) => {
                return if let Value::Boolean(value) = frame.fields.get(*slot)? { Some(*value) } else { None };
            }
            Self::Not(operand) => return operand.truth(frame).map(|truth| !truth),
            Self::Wholes(order, both) => {
                let [a, b] = &**both;
                return Some(order.holds(Some(a.whole(frame)?.cmp(&b.whole(frame)?))));
            }
            Self::Equal(both, wanted) => {
                let [a, b] = &**both;
                if let (Some(a), Some(b)) = (a.leaf(frame), b.leaf(frame)) {
                    return Some(equal(&a, &b) == *wanted);
                }
            }
            _ => {}
        }
        match self.eval(frame) {
            Ok(Val::Plain(Value::Boolean(value))) => Some(value),
            _ => None,
        }
    }

    /// As a whole number, or an instant in milliseconds; none when it fails or is anything else.
    #[inline(always)]
    pub fn whole(&self, frame: Frame<'_, '_>) -> Option<i64> {
        match self {
            Self::Long(value) | Self::Time(value) => Some(*value),
            Self::Field(slot) => number(frame.fields.get(*slot)?),
            Self::Let(at) => match frame.lets.get(*at)? {
                Val::Plain(value) => number(value),
                Val::Made(_) => None,
            },
            _ => self.rarer_whole(frame),
        }
    }

    fn rarer_whole(&self, frame: Frame<'_, '_>) -> Option<i64> {
        match self {
            Self::Size(slot) => text(frame.fields.get(*slot)?).map(characters),
            Self::Arith(arith, both) => {
                let [a, b] = &**both;
                arith.checked(a.whole(frame)?, b.whole(frame)?)
            }
            Self::Negate(operand) => operand.whole(frame)?.checked_neg(),
            Self::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                if condition.truth(frame)? { then.whole(frame) } else { otherwise.whole(frame) }
            }
            _ => match self.eval(frame) {
                Ok(Val::Plain(value)) => number(&value),
                _ => None,
            },
        }
    }

    /// Its value, where it is of this type and there is a quick way to it.
    pub fn quick<'a>(&'a self, kind: Option<Type>, frame: Frame<'_, 'a>) -> Option<Value<'a>> {
        match (self, kind) {
            (Self::Field(slot), _) => frame.fields.get(*slot).copied(),
            (_, Some(Type::Long)) => self.whole(frame).map(Value::Long),
            (_, Some(Type::Time)) => self.whole(frame).map(Value::Time),
            (_, Some(Type::Boolean)) => self.truth(frame).map(Value::Boolean),
            _ => self.leaf(frame),
        }
    }

    /// The value of what cannot fail and is at hand.
    fn leaf<'a>(&'a self, frame: Frame<'_, 'a>) -> Option<Value<'a>> {
        match self {
            Self::Field(slot) => frame.fields.get(*slot).copied(),
            Self::Let(at) => match frame.lets.get(*at)? {
                Val::Plain(value) => Some(*value),
                Val::Made(_) => None,
            },
            Self::Long(value) => Some(Value::Long(*value)),
            Self::Text(text) => Some(Value::Text(text)),
            Self::Double(value) => Some(Value::Double(*value)),
            _ => None,
        }
    }

    /// One whole number, or instant, against another.
    pub(super) fn wholes(order: Order, a: Self, b: Self) -> Self {
        let within = |order: Order, n: i64| match order {
            Order::Less => n.checked_sub(1).map_or((0, -1), |n| (i64::MIN, n)),
            Order::LessOrEqual => (i64::MIN, n),
            Order::Greater => n.checked_add(1).map_or((0, -1), |n| (n, i64::MAX)),
            Order::GreaterOrEqual => (n, i64::MAX),
        };
        let (field, (from, to)) = match (&a, &b) {
            (field, Self::Long(n) | Self::Time(n)) => (field, within(order, *n)),
            (Self::Long(n) | Self::Time(n), field) => (field, within(order.turned(), *n)),
            _ => return Self::Wholes(order, Box::new([a, b])),
        };
        match field {
            Self::Field(slot) => Self::test(*slot, Asked::Within(from, to)),
            Self::Size(slot) => Self::test(*slot, Asked::SizeWithin(from, to)),
            _ => Self::Wholes(order, Box::new([a, b])),
        }
    }

    /// Whether two values are equal; `whole`: both are whole numbers, or both instants, and `never_null`.
    pub(super) fn equals(a: Self, b: Self, whole: bool, never_null: bool, wanted: bool) -> Self {
        match (a, b) {
            (Self::Field(slot), Self::Long(n) | Self::Time(n)) | (Self::Long(n) | Self::Time(n), Self::Field(slot))
                if whole && never_null =>
            {
                let equal = Self::test(slot, Asked::Within(n, n));
                if wanted { equal } else { Self::Not(Box::new(equal)) }
            }
            (Self::Field(slot), Self::Text(text)) | (Self::Text(text), Self::Field(slot)) => {
                let asked = match text.is_empty() {
                    true if never_null && wanted => Asked::SizeWithin(0, 0),
                    true if never_null => Asked::SizeWithin(1, i64::MAX),
                    _ => Asked::Same(text, wanted),
                };
                Self::test(slot, asked)
            }
            (a, b) => Self::Equal(Box::new([a, b]), wanted),
        }
    }

    /// Whether a value is in a list.
    pub(super) fn is_in(a: Self, list: Vec<Self>) -> Self {
        let text = |node: &Self| if let Self::Text(text) = node { Some(text.clone()) } else { None };
        match (&a, list.iter().map(text).collect()) {
            (Self::Field(slot), Some(texts)) => Self::test(*slot, Asked::Among(texts)),
            _ => Self::In(Box::new(a), list),
        }
    }

    /// All of them, from the left; what they say of one field is said once.
    pub(super) fn and(all: Vec<Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for node in all {
            let same = kept.iter_mut().find_map(|before| match (before, &node) {
                (Self::Test(before), Self::Test(test)) if before.slot == test.slot => {
                    match (&mut before.asked, &test.asked) {
                        (Asked::Within(from, to), Asked::Within(low, high))
                        | (Asked::SizeWithin(from, to), Asked::SizeWithin(low, high)) => Some((from, to, *low, *high)),
                        _ => None,
                    }
                }
                _ => None,
            });
            match same {
                Some((from, to, low, high)) => (*from, *to) = ((*from).max(low), (*to).min(high)),
                None => kept.push(node),
            }
        }
        Self::And(kept)
    }
}

/// `&&` (`decisive` is false) and `||` (true): one decisive side decides, even when the other fails, as CEL has it.
#[inline]
fn decided(all: &[Node], frame: Frame<'_, '_>, decisive: bool) -> Option<bool> {
    let mut answer = Some(!decisive);
    for node in all {
        // Not by a call of a function where there is no need of one.
        let truth = if let Node::Test(test) = node { test.truth(frame.fields) } else { node.truth(frame) };
        match truth {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

#[inline]
fn number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Long(n) | Value::Time(n) => Some(*n),
        _ => None,
    }
}

/// A text, which may stand as the bytes that it is.
#[inline]
fn text<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    match value {
        Value::Text(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// Characters of a text: every byte but those that go on with one.
#[inline]
pub(super) fn characters(text: &[u8]) -> i64 {
    text.iter().filter(|byte| **byte as i8 >= -0x40).count() as i64
}

/// Whether the characters of a text are from one number to another. They are mostly not counted: each has one byte to four.
#[inline]
fn size_within(text: &[u8], from: i64, to: i64) -> bool {
    let most = text.len() as i64;
    let least = (most + 3) / 4;
    if from <= least && most <= to {
        return true;
    }
    from <= most && least <= to && (from..=to).contains(&characters(text))
}
