//! `aggregate`: functions of expressions.

use super::Compiler;
use crate::cel::check;
use crate::file::{AGGREGATES, Named};
use crate::job::Added;
use crate::near;
use crate::problem::{At, Problem};
use ::cel::common::ast::{Expr, LiteralValue};
use std::collections::BTreeSet;
use tidemark_core::aggregate::{Function, Output};
use tidemark_core::value::Type;

/// Exact counts of so many different values for [`Function::TopK`].
const TOP_CAPACITY: u32 = 1_000;
/// Of [`Function::Distinct`] unless another is given.
const PRECISION: u8 = 14;
/// Of [`Function::Quantile`] unless another is given.
const ERROR: f64 = 0.01;

impl Compiler<'_> {
    /// `function(expression, parameters)`.
    pub(super) fn added(&mut self, named: &Named) -> Option<Added> {
        let parsed = self.parse(&named.expression)?;
        let forms = || AGGREGATES.iter().map(|(form, _)| crate::cel::functions::function_name(form));
        let Expr::Call(call) = &parsed.root.expr else {
            let what = format!("`{}` is no aggregate", parsed.text());
            let fix = "write a function of an expression, for example sum(bytes); compute with aggregates under `emit`";
            self.problems.push(Problem::new(parsed.at(&parsed.root), what).fix(fix));
            return None;
        };
        let at = parsed.at(&parsed.root);
        if call.target.is_some() || !forms().any(|name| name == call.func_name) {
            let shown = call.func_name.trim_matches('_');
            let what = format!("there is no aggregate `{shown}`");
            let fix = match near::near(&call.func_name, forms()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "there is {}; compute with aggregates under `emit`",
                    forms().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
                ),
            };
            self.problems.push(Problem::new(at, what).fix(fix));
            return None;
        }
        let (first, parameters) = call.args.split_first().map_or((None, call.args.as_slice()), |(f, r)| (Some(f), r));
        let function = self.function(&call.func_name, parameters, at)?;
        let value = match first {
            None => None,
            Some(first) => {
                let checked = check::part(&parsed, first, &self.scope, parsed.text());
                Some(self.fail(checked)?)
            }
        };
        value.iter().for_each(|checked| self.note(checked));
        let input = value.as_ref().and_then(|checked| checked.kind.kind);
        let conditional = call.func_name == "count_if";
        if value.is_some() && (input.is_none() || (conditional && input != Some(Type::Boolean))) {
            let what = format!(
                "{} takes {}",
                call.func_name,
                if conditional { "a condition" } else { "a value, and this is null" }
            );
            self.problems.push(Problem::new(at, what));
            return None;
        }
        if value.is_none() && call.func_name != "count" {
            let what = format!("{} takes an expression", call.func_name);
            self.problems.push(Problem::new(at, what).fix(format!("name a field: {}(x)", call.func_name)));
            return None;
        }
        let output = self.fail(function.output(input).map_err(|rule| Problem::new(at, rule)))?;
        if output == Output::Bytes {
            let what = format!("{} of bytes is no column of a view", call.func_name);
            self.problems.push(Problem::new(at, what).fix("string(x) makes a string of them"));
            return None;
        }
        let nullable = !matches!(function, Function::Count | Function::Distinct { .. })
            && (value.as_ref().is_some_and(|checked| checked.kind.nullable)
                || matches!(self.file.window, tidemark_core::Windowing::Session { .. }));
        Some(Added {
            name: named.name.clone(),
            function,
            value,
            conditional,
            output,
            nullable,
            text: parsed.text().to_owned(),
        })
    }

    fn function(&mut self, name: &str, parameters: &[::cel::IdedExpr], at: At) -> Option<Function> {
        let form = AGGREGATES.iter().rev().find(|(form, _)| crate::cel::functions::function_name(form) == name);
        let form = form.map_or(name, |(form, _)| *form);
        let number = |n: usize| match parameters.get(n).map(|parameter| &parameter.expr) {
            None => Ok(None),
            Some(Expr::Literal(LiteralValue::Int(value))) => Ok(Some(*value.inner() as f64)),
            Some(Expr::Literal(LiteralValue::Double(value))) => Ok(Some(*value.inner())),
            Some(_) => Err(Problem::new(at, format!("the parameters of {name} are numbers that are written out"))),
        };
        let whole = |n: usize| {
            let whole = |value: f64| u32::try_from(value as i64).ok().filter(|whole| f64::from(*whole) == value);
            match number(n)? {
                None => Ok(None),
                Some(value) => whole(value).map(Some).ok_or_else(|| {
                    Problem::new(at, format!("{form} takes a small whole number there, 1 or more, not {value}"))
                }),
            }
        };
        let most = match name {
            "quantile" => 2,
            "distinct" | "top_k" => 1,
            _ => 0,
        };
        if parameters.len() > most {
            self.problems.push(Problem::new(at, format!("{form} is given {} values", parameters.len() + 1)));
            return None;
        }
        let function = (|| {
            Ok(match name {
                "count" | "count_if" => Function::Count,
                "sum" => Function::Sum,
                "min" => Function::Min,
                "max" => Function::Max,
                "mean" => Function::Mean,
                "first" => Function::First,
                "last" => Function::Last,
                "quantile" => Function::Quantile {
                    q: number(0)?
                        .ok_or_else(|| Problem::new(at, format!("{form}: which quantile? 0.5 is the median")))?,
                    error: number(1)?.unwrap_or(ERROR),
                },
                "distinct" => Function::Distinct {
                    precision: whole(0)?.map_or(PRECISION, |precision| u8::try_from(precision).unwrap_or(u8::MAX)),
                },
                _ => Function::TopK {
                    k: whole(0)?.ok_or_else(|| Problem::new(at, format!("{form}: how many?")))?,
                    capacity: TOP_CAPACITY,
                },
            })
        })();
        self.fail(function)
    }
}
