//! CEL text as a tree with places.

use crate::problem::{At, Problem};
use crate::yaml::Scalar;
use ::cel::common::ast::{Expr, SourceInfo};
use ::cel::parser::Parser;

/// Longest expression, bytes.
const BYTES_MAX: usize = 4_096;
/// Deepest nesting.
const DEPTH_MAX: u16 = 48;

/// A parsed expression that knows where it stands in its file.
#[derive(Debug)]
pub struct Parsed<'f> {
    /// The tree.
    pub root: ::cel::IdedExpr,
    info: SourceInfo,
    scalar: &'f Scalar,
}

impl Parsed<'_> {
    /// Where a part stands: its first character, or its operator.
    pub fn at(&self, part: &::cel::IdedExpr) -> At {
        let start = self.info.offset_for(part.id).map_or(0, |(start, _)| start as usize);
        // A call is said to be at its parenthesis, where its name ends.
        let name = match &part.expr {
            Expr::Call(call) if self.scalar.text.chars().nth(start) == Some('(') => call.func_name.chars().count(),
            _ => 0,
        };
        self.scalar.place(start.saturating_sub(name))
    }

    /// Its text.
    pub fn text(&self) -> &str {
        self.scalar.text.trim()
    }
}

/// Parses an expression.
///
/// # Errors
/// It is not CEL.
pub fn parse(scalar: &Scalar) -> Result<Parsed<'_>, Vec<Problem>> {
    let text = scalar.text.as_str();
    if text.trim().is_empty() {
        return Err(vec![Problem::new(scalar.place(0), "an expression is missing here")]);
    }
    if text.len() > BYTES_MAX {
        let what = format!("the expression has {} bytes; at most {BYTES_MAX} are read", text.len());
        return Err(vec![Problem::new(scalar.place(0), what).fix("split it with `let`")]);
    }
    match Parser::new().max_recursion_depth(DEPTH_MAX).parse_with_source_info(text) {
        Ok((root, info)) if root.expr != Expr::Unspecified => Ok(Parsed { root, info, scalar }),
        Ok(_) => Err(vec![Problem::new(scalar.place(0), "this is not an expression")]),
        Err(errors) => {
            let place = |(line, column): (isize, isize)| {
                let lines = text.split('\n').take(usize::try_from(line - 1).unwrap_or(0));
                let before: usize = lines.map(|line| line.chars().count() + 1).sum();
                scalar.place(before + usize::try_from(column - 1).unwrap_or(0))
            };
            let problem = |error: &::cel::ParseError| {
                let why = plain(&error.msg);
                let problem =
                    Problem::new(place(error.pos), format!("`{}` is not a CEL expression: {why}", text.trim()));
                if why.contains("has()") { problem.fix("write `x != null` for `has(x)`") } else { problem }
            };
            // One error draws others after it: the first says what is wrong.
            Err(errors.errors.iter().take(1).map(problem).collect())
        }
    }
}

/// The parser's message in a line, without the list of what it would have taken.
fn plain(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().trim();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let (told, _) = message.split_once(" expecting ").unwrap_or((message, ""));
    let input = |kind: &str| told.strip_prefix(kind)?.strip_prefix(" input ")?.strip_prefix('\'')?.strip_suffix('\'');
    match input("mismatched").or_else(|| input("extraneous")) {
        Some("<EOF>") => "it ends too early".to_owned(),
        Some(found) => format!("`{found}` is not expected here"),
        None => told.to_lowercase(),
    }
}
