//! Checking: every name is known, every type fits, and nothing that may be null goes where null is an error.

use super::call::Call;
use super::eval::{Arith, Node, Order};
use super::functions::{FUNCTIONS, Signature, described, function_name, signature};
use super::parse::Parsed;
use crate::near;
use crate::problem::Problem;
use ::cel::IdedExpr;
use ::cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use std::collections::BTreeSet;
use tidemark_core::value::Type;

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// None: it is always null.
    pub kind: Option<Type>,
    /// It may be null.
    pub nullable: bool,
}

impl Kind {
    fn of(kind: Type) -> Self {
        Self { kind: Some(kind), nullable: false }
    }

    /// For messages.
    pub fn name(self) -> String {
        match self.kind {
            None => "null".to_owned(),
            Some(kind) if self.nullable => format!("{} or null", kind.name()),
            Some(kind) => kind.name().to_owned(),
        }
    }
}

/// Where a name's value is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Field of the record: its number in the scope.
    Field(usize),
    /// `let`, by number.
    Let(usize),
}

/// What expressions can name.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    names: Vec<Named>,
    /// What the names are, for messages: `field of logs.access`.
    what: String,
    /// Names that are not null wherever an expression is computed.
    present: Vec<String>,
}

#[derive(Debug, Clone)]
struct Named {
    name: String,
    kind: Result<Type, String>,
    nullable: bool,
    place: Place,
}

impl Scope {
    /// Nothing yet; `what` says in messages what a name is.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// Adds a name; `kind` may say why it cannot be used.
    pub fn add(&mut self, name: &str, kind: Result<Type, String>, nullable: bool, place: Place) {
        self.names.push(Named { name: name.to_owned(), kind, nullable, place });
    }

    /// From now on expressions are computed only where this condition was true.
    pub fn assume(&mut self, condition: &Parsed<'_>) {
        self.present.extend(facts(&condition.root, true));
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().map(|named| named.name.as_str())
    }

    fn get(&self, name: &str) -> Option<&Named> {
        self.names.iter().rev().find(|named| named.name == name)
    }

    /// Type of a name that can be used.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        let named = self.get(name)?;
        named.kind.as_ref().ok().map(|kind| Kind { kind: Some(*kind), nullable: named.nullable })
    }
}

/// A checked expression.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Ready to run; its fields are numbered as the scope has them.
    pub node: Node,
    /// Its type.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// The names in it.
    pub names: BTreeSet<String>,
}

impl Checked {
    /// A field by itself.
    pub fn of_field(name: &str, field: usize, kind: Type) -> Self {
        Self { node: Node::Field(field), kind: Kind::of(kind), text: name.to_owned(), names: [name.to_owned()].into() }
    }
}

/// Checks an expression.
///
/// # Errors
/// The first thing in it that does not fit.
pub fn check(parsed: &Parsed<'_>, scope: &Scope) -> Result<Checked, Problem> {
    part(parsed, &parsed.root, scope, parsed.text())
}

/// As [`check`], of a part of an expression.
///
/// # Errors
/// As [`check`].
pub fn part(parsed: &Parsed<'_>, root: &IdedExpr, scope: &Scope, text: &str) -> Result<Checked, Problem> {
    let mut checker = Checker { parsed, scope, present: scope.present.clone(), names: BTreeSet::new() };
    let (node, kind) = checker.expr(root)?;
    Ok(Checked { node, kind, text: text.to_owned(), names: checker.names })
}

struct Checker<'c> {
    parsed: &'c Parsed<'c>,
    scope: &'c Scope,
    /// Names known not to be null here.
    present: Vec<String>,
    names: BTreeSet<String>,
}

type Typed = Result<(Node, Kind), Problem>;

/// The names in an expression, known or not.
pub fn names(expr: &IdedExpr) -> BTreeSet<String> {
    let all = |exprs: &[IdedExpr]| exprs.iter().flat_map(names).collect();
    match &expr.expr {
        Expr::Ident(name) => [name.clone()].into(),
        Expr::Select(select) => spelt(expr).into_iter().chain(names(&select.operand)).collect(),
        Expr::Call(call) => call.target.iter().flat_map(|target| names(target)).chain(all(&call.args)).collect(),
        Expr::List(list) => all(&list.elements),
        _ => BTreeSet::new(),
    }
}

/// The name that an expression spells, `a` or `a.b`.
fn spelt(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", spelt(&select.operand)?, select.field)),
        _ => None,
    }
}

impl Checker<'_> {
    fn problem(&self, expr: &IdedExpr, what: impl Into<String>) -> Problem {
        Problem::new(self.parsed.at(expr), what)
    }

    fn expr(&mut self, expr: &IdedExpr) -> Typed {
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(_) => self.name(expr, spelt(expr).unwrap_or_default()),
            Expr::Select(select) if select.test => {
                let name = spelt(&select.operand).map(|before| format!("{before}.{}", select.field));
                let (node, _) = self.name(expr, name.unwrap_or_default())?;
                Ok((Node::Equal(Box::new([node, Node::Null]), false), Kind::of(Type::Boolean)))
            }
            Expr::Select(select) => match spelt(expr) {
                Some(name) => self.name(expr, name),
                None => {
                    Err(self.problem(expr, format!("`.{}` is taken of something that has no fields", select.field)))
                }
            },
            Expr::Call(call) => self.call(expr, call),
            Expr::List(_) => Err(self.problem(expr, "a list stands only after `in`")),
            Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => Err(self
                .problem(expr, "maps, messages and macros over lists are not part of the language here")
                .fix("see the reference of expressions in docs/jobs.md")),
        }
    }

    fn literal(&self, expr: &IdedExpr, literal: &LiteralValue) -> Typed {
        Ok(match literal {
            LiteralValue::Boolean(value) => (Node::Boolean(*value.inner()), Kind::of(Type::Boolean)),
            LiteralValue::Int(value) => (Node::Long(*value.inner()), Kind::of(Type::Long)),
            LiteralValue::UInt(value) => match i64::try_from(*value.inner()) {
                Ok(value) => (Node::Long(value), Kind::of(Type::Long)),
                Err(_) => return Err(self.problem(expr, "the number does not fit 63 bits")),
            },
            LiteralValue::Double(value) => (Node::Double(*value.inner()), Kind::of(Type::Double)),
            LiteralValue::String(value) => (Node::Text(value.inner().to_owned()), Kind::of(Type::Text)),
            LiteralValue::Bytes(value) => (Node::Bytes(value.inner().to_vec()), Kind::of(Type::Bytes)),
            LiteralValue::Null => (Node::Null, Kind { kind: None, nullable: true }),
        })
    }

    fn name(&mut self, expr: &IdedExpr, name: String) -> Typed {
        let Some(named) = self.scope.get(&name) else {
            // A field of something that is known, and cannot be looked into.
            let within = name.match_indices('.').filter_map(|(dot, _)| self.scope.get(name.get(..dot)?));
            if let Some((outer, why)) =
                within.filter_map(|named| Some((&named.name, named.kind.as_ref().err()?))).next()
            {
                return Err(self.problem(expr, format!("`{outer}`: {why}")));
            }
            let what = format!("there is no {} called `{name}`", self.scope.what);
            return Err(self.problem(expr, what).fix(near::advice(&name, self.scope.names())));
        };
        let kind = match &named.kind {
            Ok(kind) => *kind,
            Err(why) => return Err(self.problem(expr, format!("`{name}`: {why}"))),
        };
        let nullable = named.nullable && !self.present.contains(&name);
        let node = match named.place {
            Place::Field(field) => Node::Field(field),
            Place::Let(number) => Node::Let(number),
        };
        self.names.insert(name);
        Ok((node, Kind { kind: Some(kind), nullable }))
    }

    /// With `names` known to be there.
    fn given(&mut self, names: Vec<String>, expr: &IdedExpr) -> Typed {
        let before = self.present.len();
        self.present.extend(names);
        let typed = self.expr(expr);
        self.present.truncate(before);
        typed
    }

    /// Of one type, and never null.
    fn one(
        &self,
        expr: &IdedExpr,
        (node, kind): (Node, Kind),
        wanted: &[Type],
        of: &str,
    ) -> Result<(Node, Type), Problem> {
        match kind.kind {
            Some(found) if wanted.contains(&found) && !kind.nullable => Ok((node, found)),
            Some(found) if wanted.contains(&found) => Err(self.nullable(expr, of)),
            _ => {
                let names: Vec<&str> = wanted.iter().map(|kind| kind.name()).collect();
                let problem = self.problem(expr, format!("{of} takes {}, not {}", names.join(" or "), kind.name()));
                Err(match (wanted, kind.kind) {
                    ([Type::Text], Some(_)) => problem.fix("string(x) makes a string of it"),
                    _ => problem,
                })
            }
        }
    }

    fn nullable(&self, expr: &IdedExpr, of: &str) -> Problem {
        let name = spelt(expr).unwrap_or_else(|| "x".to_owned());
        self.problem(expr, format!("{of} takes no null, and this may be null"))
            .fix(format!("test it, `{name} != null && …`, or give a value for it, `coalesce({name}, …)`"))
    }

    fn condition(&mut self, expr: &IdedExpr, of: &str) -> Result<Node, Problem> {
        let typed = self.expr(expr)?;
        self.one(expr, typed, &[Type::Boolean], of).map(|(node, _)| node)
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Typed {
        match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            (operators::CONDITIONAL, None, [condition, then, otherwise]) => {
                self.conditional(expr, condition, then, otherwise)
            }
            (operators::LOGICAL_AND, None, [a, b]) => {
                let left = self.condition(a, "`&&`")?;
                let (right, kind) = self.given(facts(a, true), b)?;
                let right = self.one(b, (right, kind), &[Type::Boolean], "`&&`")?.0;
                let all = flat(left, right, |node| match node {
                    Node::And(all) => Ok(all),
                    other => Err(other),
                });
                Ok((Node::and(all), Kind::of(Type::Boolean)))
            }
            (operators::LOGICAL_OR, None, [a, b]) => {
                let left = self.condition(a, "`||`")?;
                let (right, kind) = self.given(facts(a, false), b)?;
                let right = self.one(b, (right, kind), &[Type::Boolean], "`||`")?.0;
                Ok((
                    Node::Or(flat(left, right, |node| match node {
                        Node::Or(all) => Ok(all),
                        other => Err(other),
                    })),
                    Kind::of(Type::Boolean),
                ))
            }
            (operators::LOGICAL_NOT, None, [a]) => {
                Ok((Node::Not(Box::new(self.condition(a, "`!`")?)), Kind::of(Type::Boolean)))
            }
            (operators::EQUALS, None, [a, b]) => self.equal(expr, a, b, true),
            (operators::NOT_EQUALS, None, [a, b]) => self.equal(expr, a, b, false),
            (operators::LESS, None, [a, b]) => self.order(expr, Order::Less, a, b),
            (operators::LESS_EQUALS, None, [a, b]) => self.order(expr, Order::LessOrEqual, a, b),
            (operators::GREATER, None, [a, b]) => self.order(expr, Order::Greater, a, b),
            (operators::GREATER_EQUALS, None, [a, b]) => self.order(expr, Order::GreaterOrEqual, a, b),
            (operators::ADD, None, [a, b]) => self.arith(expr, Arith::Add, "+", a, b),
            (operators::SUBSTRACT, None, [a, b]) => self.arith(expr, Arith::Subtract, "-", a, b),
            (operators::MULTIPLY, None, [a, b]) => self.arith(expr, Arith::Multiply, "*", a, b),
            (operators::DIVIDE, None, [a, b]) => self.arith(expr, Arith::Divide, "/", a, b),
            (operators::MODULO, None, [a, b]) => self.arith(expr, Arith::Remainder, "%", a, b),
            (operators::NEGATE, None, [a]) => {
                let typed = self.expr(a)?;
                let (node, kind) = self.one(a, typed, &[Type::Long, Type::Double, Type::Integer], "`-`")?;
                let negative = if let Node::Long(n) = node { n.checked_neg() } else { None };
                Ok((negative.map_or_else(|| Node::Negate(Box::new(node)), Node::Long), Kind::of(kind)))
            }
            (operators::IN, None, [a, list]) => self.is_in(a, list),
            ("coalesce", None, args) => self.coalesce(expr, args),
            (name, target, args) => {
                let all: Vec<&IdedExpr> = target.into_iter().chain(args).collect();
                self.function(expr, name, target.is_some(), &all)
            }
        }
    }

    fn conditional(&mut self, expr: &IdedExpr, condition: &IdedExpr, then: &IdedExpr, otherwise: &IdedExpr) -> Typed {
        let test = self.condition(condition, "the condition of `? :`")?;
        let (a, a_kind) = self.given(facts(condition, true), then)?;
        let (b, b_kind) = self.given(facts(condition, false), otherwise)?;
        let kind = self.common(expr, "both sides of `:`", &[a_kind, b_kind])?;
        Ok((Node::If(Box::new([test, a, b])), kind))
    }

    fn coalesce(&mut self, expr: &IdedExpr, args: &[IdedExpr]) -> Typed {
        let typed: Vec<(Node, Kind)> = args.iter().map(|arg| self.expr(arg)).collect::<Result<_, _>>()?;
        if typed.is_empty() {
            return Err(self.problem(expr, "coalesce takes one value or more"));
        }
        let kinds: Vec<Kind> = typed.iter().map(|(_, kind)| *kind).collect();
        let kind = self.common(expr, "the values of coalesce", &kinds)?;
        let nullable = kinds.iter().all(|kind| kind.nullable);
        Ok((Node::Call(Call::Coalesce, typed.into_iter().map(|(node, _)| node).collect()), Kind { nullable, ..kind }))
    }

    fn common(&self, expr: &IdedExpr, what: &str, kinds: &[Kind]) -> Result<Kind, Problem> {
        let mut found = kinds.iter().filter_map(|kind| kind.kind);
        let first = found.next();
        if let Some(other) = found.find(|kind| Some(*kind) != first) {
            let first = first.map_or("null", Type::name);
            return Err(
                self.problem(expr, format!("{what} must be of one type; they are {first} and {}", other.name()))
            );
        }
        Ok(Kind { kind: first, nullable: kinds.iter().any(|kind| kind.nullable) })
    }

    fn equal(&mut self, expr: &IdedExpr, a: &IdedExpr, b: &IdedExpr, wanted: bool) -> Typed {
        let ((left, a), (right, b)) = (self.expr(a)?, self.expr(b)?);
        if let (Some(a), Some(b)) = (a.kind, b.kind)
            && !comparable(a, b)
        {
            return Err(self.problem(expr, format!("{} is never equal to {}", a.name(), b.name())));
        }
        let whole = a.kind == b.kind && matches!(a.kind, Some(Type::Long | Type::Time));
        let never_null = !a.nullable && !b.nullable;
        Ok((Node::equals(left, right, whole, never_null, wanted), Kind::of(Type::Boolean)))
    }

    fn order(&mut self, expr: &IdedExpr, order: Order, a: &IdedExpr, b: &IdedExpr) -> Typed {
        const ALL: &[Type] =
            &[Type::Long, Type::Double, Type::Integer, Type::Text, Type::Time, Type::Boolean, Type::Bytes];
        let (left, right) = (self.expr(a)?, self.expr(b)?);
        let (left, a) = self.one(a, left, ALL, "a comparison")?;
        let (right, b) = self.one(b, right, ALL, "a comparison")?;
        if !comparable(a, b) {
            return Err(self.problem(expr, format!("{} is not compared with {}", a.name(), b.name())));
        }
        let node = match (a, b) {
            (Type::Long, Type::Long) | (Type::Time, Type::Time) => Node::wholes(order, left, right),
            _ => Node::Order(order, Box::new([left, right])),
        };
        Ok((node, Kind::of(Type::Boolean)))
    }

    fn arith(&mut self, expr: &IdedExpr, arith: Arith, sign: &str, a: &IdedExpr, b: &IdedExpr) -> Typed {
        const ALL: &[Type] = &[Type::Long, Type::Double, Type::Integer, Type::Text, Type::Time];
        let (left, right) = (self.expr(a)?, self.expr(b)?);
        let of = format!("`{sign}`");
        let ((left, a), (right, b)) = (self.one(a, left, ALL, &of)?, self.one(b, right, ALL, &of)?);
        let kind = match (a, b) {
            (Type::Long, Type::Long) => Type::Long,
            (Type::Double, Type::Double) => Type::Double,
            (Type::Integer | Type::Long, Type::Integer | Type::Long) => Type::Integer,
            (Type::Text, Type::Text) if arith == Arith::Add => Type::Text,
            (Type::Time, Type::Time) if arith == Arith::Subtract => Type::Long,
            _ => {
                let problem = self.problem(expr, format!("there is no {} {sign} {}", a.name(), b.name()));
                let numbers = [Type::Long, Type::Double, Type::Integer];
                return Err(if numbers.contains(&a) && numbers.contains(&b) {
                    problem.fix("make both doubles: double(x)")
                } else if a == Type::Text || b == Type::Text {
                    problem.fix("string(x) makes a string of it")
                } else {
                    problem
                });
            }
        };
        Ok((Node::Arith(arith, Box::new([left, right])), Kind::of(kind)))
    }

    fn is_in(&mut self, a: &IdedExpr, list: &IdedExpr) -> Typed {
        let (node, kind) = self.expr(a)?;
        let Expr::List(items) = &list.expr else {
            return Err(self.problem(list, "`in` takes a list here").fix("write it out: x in [1, 2, 3]"));
        };
        let mut nodes = Vec::new();
        for item in &items.elements {
            let (node, found) = self.expr(item)?;
            if let (Some(a), Some(b)) = (kind.kind, found.kind)
                && !comparable(a, b)
            {
                return Err(self.problem(item, format!("{} is never equal to {}", a.name(), b.name())));
            }
            nodes.push(node);
        }
        Ok((Node::is_in(node, nodes), Kind::of(Type::Boolean)))
    }

    fn function(&mut self, expr: &IdedExpr, name: &str, of_value: bool, args: &[&IdedExpr]) -> Typed {
        // "any" may stand before its value or after it.
        let stands_right = |(_, form, ..): &Signature| *form == "any" || form.is_empty() != of_value;
        let Some((call, _, wanted, gives)) = signature(name).filter(stands_right) else {
            return Err(self.unknown(expr, name, of_value));
        };
        let least = wanted.iter().filter(|kinds| !kinds.is_empty()).count();
        if args.len() < least || args.len() > wanted.len() {
            let form = described(name);
            return Err(self.problem(expr, format!("{form} is given {} values", args.len() - usize::from(of_value))));
        }
        let (mut nodes, mut of_text) = (Vec::new(), false);
        for (arg, kinds) in args.iter().zip(wanted) {
            let typed = self.expr(arg)?;
            let kinds = if kinds.is_empty() { &[Type::Long] } else { *kinds };
            let (node, kind) = self.one(arg, typed, kinds, name)?;
            of_text = kind == Type::Text;
            nodes.push(node);
        }
        if let (Call::Size, [Node::Field(slot)], true) = (&call, nodes.as_slice(), of_text) {
            return Ok((Node::Size(*slot), Kind::of(gives)));
        }
        let call = match (call, nodes.get(1)) {
            (Call::Matches(_), Some(Node::Text(pattern))) => match regex::Regex::new(pattern) {
                Ok(regex) => Call::Matches(regex),
                Err(error) => {
                    let why = error.to_string();
                    let why = why.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
                    return Err(self.problem(expr, format!("the regular expression is not valid: {why}")));
                }
            },
            (Call::Matches(_), _) => {
                return Err(self.problem(expr, "the regular expression of matches must be written out, in quotes"));
            }
            (Call::Timestamp, _) => {
                if let Some(Node::Text(text)) = nodes.first() {
                    return match crate::instant::parse_rfc3339(text) {
                        Some(ms) => Ok((Node::Time(ms), Kind::of(Type::Time))),
                        None => {
                            Err(self.problem(expr, format!("`{text}` is not RFC 3339, such as 2026-01-01T00:00:00Z")))
                        }
                    };
                }
                Call::Timestamp
            }
            (call, _) => call,
        };
        Ok((Node::Call(call, nodes), Kind::of(gives)))
    }

    fn unknown(&self, expr: &IdedExpr, name: &str, of_value: bool) -> Problem {
        if let Some(form) = FUNCTIONS.iter().map(|(form, _)| *form).find(|form| function_name(form) == name) {
            let how = if of_value { "stands before its value" } else { "stands after its value, with a dot" };
            return self.problem(expr, format!("the function {name} {how}")).fix(form.to_owned());
        }
        let known = FUNCTIONS.iter().map(|(form, _)| function_name(form)).chain(["has"]);
        let problem = self.problem(expr, format!("there is no function `{name}`"));
        match crate::near::near(name, known) {
            Some(meant) => problem.fix(format!("did you mean `{meant}`?")),
            None if crate::file::AGGREGATES.iter().any(|(form, _)| function_name(form) == name) => {
                problem.fix("aggregates stand under `aggregate`, alone")
            }
            None => problem.fix("see the functions in docs/jobs.md"),
        }
    }
}

/// The operands of a chain of one operator, which the parser gives as a tree.
fn flat(left: Node, right: Node, parts: fn(Node) -> Result<Vec<Node>, Node>) -> Vec<Node> {
    let mut all = parts(left).unwrap_or_else(|one| vec![one]);
    all.extend(parts(right).unwrap_or_else(|one| vec![one]));
    all
}

/// Numbers of all kinds are compared with each other.
fn comparable(a: Type, b: Type) -> bool {
    const NUMBERS: [Type; 3] = [Type::Long, Type::Double, Type::Integer];
    a == b || (NUMBERS.contains(&a) && NUMBERS.contains(&b))
}

/// What a condition says when it came out as `truth`: names that are not null then.
fn facts(condition: &IdedExpr, truth: bool) -> Vec<String> {
    let null = |expr: &IdedExpr| matches!(&expr.expr, Expr::Literal(LiteralValue::Null));
    let literal = |expr: &IdedExpr| matches!(&expr.expr, Expr::Literal(_)) && !null(expr);
    match &condition.expr {
        Expr::Select(select) if select.test && truth => {
            spelt(&select.operand).map(|before| format!("{before}.{}", select.field)).into_iter().collect()
        }
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::NOT_EQUALS, [a, b]) if truth && null(b) => spelt(a).into_iter().collect(),
            (operators::NOT_EQUALS, [a, b]) if truth && null(a) => spelt(b).into_iter().collect(),
            (operators::EQUALS, [a, b]) if !truth && null(b) => spelt(a).into_iter().collect(),
            (operators::EQUALS, [a, b]) if !truth && null(a) => spelt(b).into_iter().collect(),
            // Equal to something that is never null.
            (operators::EQUALS, [a, b]) if truth && literal(b) => spelt(a).into_iter().collect(),
            (operators::EQUALS, [a, b]) if truth && literal(a) => spelt(b).into_iter().collect(),
            (operators::LOGICAL_AND, [a, b]) if truth => [facts(a, true), facts(b, true)].concat(),
            (operators::LOGICAL_OR, [a, b]) if !truth => [facts(a, false), facts(b, false)].concat(),
            (operators::LOGICAL_NOT, [a]) => facts(a, !truth),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
