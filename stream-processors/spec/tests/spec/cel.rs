//! Our evaluation against that of the `cel` crate, on expressions made at random: one language, two implementations.

use ::cel::{Context, Program, Value as Theirs};
use proptest::prelude::*;
use tidemark_core::value::{Type, Value};
use tidemark_spec::cel::check::{self, Place, Scope};
use tidemark_spec::cel::eval::Frame;
use tidemark_spec::cel::parse::parse;
use tidemark_spec::yaml;

const NAMES: [(&str, Type); 6] = [
    ("i", Type::Long),
    ("j", Type::Long),
    ("x", Type::Double),
    ("s", Type::Text),
    ("t", Type::Text),
    ("b", Type::Boolean),
];

fn whole(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("i".to_owned()),
        Just("j".to_owned()),
        (-9..9_i64).prop_map(|n| format!("({n})")),
        Just("9223372036854775807".to_owned())
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let (a, b, c) = (whole(depth - 1), whole(depth - 1), truth(depth - 1));
    prop_oneof![
        2 => leaf,
        3 => (a.clone(), prop_oneof!["\\+", "-", "\\*", "/", "%"], b.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => (c, a.clone(), b).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        1 => a.prop_map(|a| format!("(-{a})")),
        1 => text(depth - 1).prop_map(|s| format!("size({s})")),
        1 => double(depth - 1).prop_map(|x| format!("int({x})")),
        1 => text(depth - 1).prop_map(|s| format!("int({s})")),
    ]
    .boxed()
}

fn double(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("x".to_owned()), Just("1.5".to_owned()), Just("0.0".to_owned())];
    if depth == 0 {
        return leaf.boxed();
    }
    let (a, b) = (double(depth - 1), double(depth - 1));
    prop_oneof![
        2 => leaf,
        // No division: of NaN the crate says that it is an error to compare it, the specification that it is false.
        2 => (a, prop_oneof!["\\+", "-", "\\*"], b).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => whole(depth - 1).prop_map(|i| format!("double({i})")),
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("s".to_owned()),
        Just("t".to_owned()),
        Just("\"abc\"".to_owned()),
        Just("''".to_owned()),
        Just("'12'".to_owned())
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let (a, b) = (text(depth - 1), text(depth - 1));
    prop_oneof![
        2 => leaf,
        2 => (a.clone(), b.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
        1 => whole(depth - 1).prop_map(|i| format!("string({i})")),
        1 => (truth(depth - 1), a, b).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
    ]
    .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("b".to_owned()), Just("true".to_owned()), Just("false".to_owned())];
    if depth == 0 {
        return leaf.boxed();
    }
    let pair = |of: fn(u32) -> BoxedStrategy<String>| {
        (of(depth - 1), prop_oneof!["==", "!=", "<", "<=", ">", ">="], of(depth - 1))
            .prop_map(|(a, op, b)| format!("({a} {op} {b})"))
    };
    let (a, b) = (truth(depth - 1), truth(depth - 1));
    prop_oneof![
        1 => leaf,
        2 => pair(whole),
        1 => pair(double),
        2 => pair(text),
        // Numbers of two types are compared exactly here, as the specification has it; the crate rounds to doubles first.
        1 => (prop_oneof!["j", "3", "\\(-2\\)"], prop_oneof!["==", "<", ">="], double(0)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        2 => (a.clone(), prop_oneof!["&&", "\\|\\|"], b).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => a.prop_map(|a| format!("!{a}")),
        1 => (text(depth - 1), prop_oneof!["startsWith", "endsWith", "contains"], text(depth - 1)).prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        1 => (whole(depth - 1), whole(0), whole(0)).prop_map(|(a, b, c)| format!("({a} in [{b}, {c}])")),
    ]
    .boxed()
}

/// `Err` is any error.
#[derive(Debug, Clone, PartialEq)]
enum Came {
    Out(String),
    Err,
}

fn ours(expression: &str, values: &[Value<'_>]) -> Came {
    let mut scope = Scope::new("name");
    for (at, (name, kind)) in NAMES.iter().enumerate() {
        scope.add(name, Ok(*kind), false, Place::Field(at));
    }
    let quoted = format!("e: |\n  {expression}\n");
    let root = yaml::parse(&quoted).unwrap();
    let yaml::Data::Map(entries) = &root.data else { panic!("{quoted}") };
    let parsed = parse(entries[0].1.scalar().unwrap()).unwrap_or_else(|problems| panic!("{expression}: {problems:?}"));
    let checked = check::check(&parsed, &scope).unwrap_or_else(|problem| panic!("{expression}: {problem:?}"));
    match checked.node.eval(Frame { fields: values, lets: &[] }) {
        Err(_) => Came::Err,
        Ok(value) => Came::Out(match value.value() {
            Value::Long(n) => n.to_string(),
            Value::Double(n) => format!("{n:?}"),
            Value::Boolean(b) => b.to_string(),
            Value::Text(text) => format!("{text:?}"),
            other => format!("{other:?}"),
        }),
    }
}

fn theirs(expression: &str, values: &[Value<'_>]) -> Came {
    let mut context = Context::default();
    for ((name, _), value) in NAMES.iter().zip(values) {
        let value = match value {
            Value::Long(n) => Theirs::Int(*n),
            Value::Double(n) => Theirs::Float(*n),
            Value::Boolean(b) => Theirs::Bool(*b),
            Value::Text(text) => Theirs::String(std::sync::Arc::from((*text).to_owned())),
            other => panic!("{other:?}"),
        };
        context.add_variable_from_value(*name, value);
    }
    match Program::compile(expression).unwrap().execute(&context) {
        Err(_) => Came::Err,
        Ok(Theirs::Int(n)) => Came::Out(n.to_string()),
        Ok(Theirs::Float(n)) => Came::Out(format!("{n:?}")),
        Ok(Theirs::Bool(b)) => Came::Out(b.to_string()),
        Ok(Theirs::String(text)) => Came::Out(format!("{:?}", text.to_string())),
        Ok(other) => Came::Out(format!("{other:?}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn both_say_the_same(
        expression in prop_oneof![whole(3), double(3), text(3), truth(3)],
        i in prop_oneof![-5..5_i64, any::<i64>()],
        j in -5..5_i64,
        x in prop_oneof![-5.0..5.0_f64, Just(0.0), Just(1e18)],
        s in "[a-c0-9]{0,3}",
        t in "[a-c]{0,2}",
        b: bool,
    ) {
        let values = [Value::Long(i), Value::Long(j), Value::Double(x), Value::Text(&s), Value::Text(&t), Value::Boolean(b)];
        prop_assert_eq!(ours(&expression, &values), theirs(&expression, &values), "{} with {:?}", expression, values);
    }
}
