//! Our evaluation against that of the `cel` crate, on expressions made at random: one language, two implementations.

use ::cel::{Context, Program, Value as Theirs};
use proptest::prelude::*;
use std::collections::HashSet;
use tidemark_core::value::{Type, Value};
use tidemark_spec::cel::check::{self, Checked, Place, Scope};
use tidemark_spec::cel::eval::{Frame, Node};
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

/// The quick ways to a value say what [`tidemark_spec::cel::eval::Node::eval`] says: for texts as texts, and as bytes where those do.
fn quick_ways_agree(checked: &Checked, values: &[Value<'_>]) {
    let frame = Frame { fields: values, lets: &[] };
    let evaluated = checked.node.eval(frame);
    let slow = evaluated.as_ref().ok().map(|value| value.value());
    let mut node = checked.node.clone();
    let mut of_values = HashSet::new();
    node.each(&mut |node| of_values.extend(if let Node::Field(slot) = node { Some(*slot) } else { None }));
    let names: Vec<Value<'_>> = values
        .iter()
        .enumerate()
        .map(|(slot, value)| match value {
            Value::Text(text) if !of_values.contains(&slot) => Value::Bytes(text.as_bytes()),
            other => *other,
        })
        .collect();
    for fields in [values, &names] {
        let frame = Frame { fields, lets: &[] };
        match checked.kind.kind {
            Some(Type::Boolean) => {
                let wanted = if let Some(Value::Boolean(truth)) = slow { Some(truth) } else { None };
                assert_eq!(checked.node.truth(frame), wanted, "{} with {fields:?}", checked.text);
            }
            Some(Type::Long | Type::Time) => {
                let wanted = if let Some(Value::Long(n) | Value::Time(n)) = slow { Some(n) } else { None };
                assert_eq!(checked.node.whole(frame), wanted, "{} with {fields:?}", checked.text);
            }
            _ => {}
        }
        if let Some(value) = checked.node.quick(checked.kind.kind, frame) {
            assert_eq!(Some(value), slow, "{} with {fields:?}", checked.text);
        }
        // Whatever a field is read as, the general way comes to the same.
        assert_eq!(
            checked.node.eval(frame).ok().map(|value| format!("{:?}", value.value())),
            slow.map(|value| format!("{value:?}"))
        );
    }
}

fn checked(expression: &str, names: &[(&str, Type, bool)]) -> Result<Checked, String> {
    let mut scope = Scope::new("name");
    for (at, (name, kind, nullable)) in names.iter().enumerate() {
        scope.add(name, Ok(*kind), *nullable, Place::Field(at));
    }
    let quoted = format!("e: |\n  {expression}\n");
    let root = yaml::parse(&quoted).unwrap();
    let yaml::Data::Map(entries) = &root.data else { panic!("{quoted}") };
    let parsed = parse(entries[0].1.scalar().unwrap()).unwrap_or_else(|problems| panic!("{expression}: {problems:?}"));
    check::check(&parsed, &scope).map_err(|problem| format!("{problem:?}"))
}

fn ours(expression: &str, values: &[Value<'_>]) -> Came {
    let names = NAMES.map(|(name, kind)| (name, kind, false));
    let checked = checked(expression, &names).unwrap_or_else(|problem| panic!("{expression}: {problem}"));
    quick_ways_agree(&checked, values);
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

/// Fields that may be null, a timestamp, and numbers at both ends.
const MAYBE: [(&str, Type, bool); 6] = [
    ("i", Type::Long, false),
    ("n", Type::Long, true),
    ("at", Type::Time, false),
    ("s", Type::Text, false),
    ("m", Type::Text, true),
    ("x", Type::Double, true),
];

/// One condition of one field, or of two.
fn condition() -> impl Strategy<Value = String> {
    let edge = prop_oneof![
        (-3..4_i64).prop_map(|n| n.to_string()),
        Just(i64::MAX.to_string()),
        Just(format!("(-{})", i64::MAX)),
        Just(format!("(-{} - 1)", i64::MAX))
    ];
    let order = prop_oneof!["==", "!=", "<", "<=", ">", ">="];
    let same = prop_oneof!["==", "!="];
    let text = prop_oneof![Just("''"), Just("'a'"), Just("'aé'"), Just("'日本語'"), Just("'😀'")];
    let size = 0..6_i64;
    prop_oneof![
        (order.clone(), edge.clone()).prop_map(|(op, n)| format!("i {op} {n}")),
        (order.clone(), edge.clone()).prop_map(|(op, n)| format!("{n} {op} i")),
        (order.clone(), edge.clone()).prop_map(|(op, n)| format!("n != null && n {op} {n}")),
        (order.clone(), edge.clone()).prop_map(|(op, n)| format!("(n == null || n {op} {n})")),
        (same.clone(), edge.clone()).prop_map(|(op, n)| format!("n {op} {n}")),
        (order.clone(), edge).prop_map(|(op, n)| format!("coalesce(n, i) {op} {n}")),
        order.clone().prop_map(|op| format!("at {op} timestamp('1970-01-01T00:00:00Z')")),
        (order.clone(), size.clone()).prop_map(|(op, n)| format!("size(s) {op} {n}")),
        (order.clone(), size.clone()).prop_map(|(op, n)| format!("{n} {op} size(s)")),
        (order.clone(), size).prop_map(|(op, n)| format!("m != null && size(m) {op} {n}")),
        (same.clone(), text.clone()).prop_map(|(op, text)| format!("s {op} {text}")),
        (same.clone(), text.clone()).prop_map(|(op, text)| format!("m {op} {text}")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("s in [{a}, {b}]")),
        (text.clone(), text).prop_map(|(a, b)| format!("m in [{a}, null, {b}]")),
        same.prop_map(|op| format!("s {op} m")),
        order.clone().prop_map(|op| format!("i / (i - 1) {op} i * i")),
        order.prop_map(|op| format!("x != null && x {op} 1.5")),
    ]
}

fn conditions() -> impl Strategy<Value = String> {
    let joined = |all: Vec<String>| all.into_iter().map(|one| format!("({one})")).collect::<Vec<_>>();
    let chain = || prop::collection::vec(condition(), 1..6);
    (chain(), chain(), any::<(bool, bool)>()).prop_map(move |(a, b, (either, not))| {
        let (all, any) = (joined(a).join(" && "), joined(b).join(" || "));
        let both = if either { format!("({all}) || ({any})") } else { format!("({all}) && ({any})") };
        if not { format!("!({both})") } else { both }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn quick_ways_say_the_same_of_nulls_and_extremes(
        expression in conditions(),
        i in prop_oneof![-4..5_i64, Just(i64::MIN), Just(i64::MAX)],
        n in prop_oneof![Just(None), (-4..5_i64).prop_map(Some), Just(Some(i64::MIN)), Just(Some(i64::MAX))],
        at in prop_oneof![Just(-1_i64), Just(0), Just(1)],
        s in prop_oneof!["", "[aé日😀]{0,6}"],
        m in prop::option::of("[aé日😀]{0,6}"),
        x in prop::option::of(prop_oneof![Just(1.5), Just(f64::NAN), Just(-0.0), Just(f64::INFINITY)]),
    ) {
        let values = [
            Value::Long(i),
            n.map_or(Value::Null, Value::Long),
            Value::Time(at),
            Value::Text(&s),
            m.as_deref().map_or(Value::Null, Value::Text),
            x.map_or(Value::Null, Value::Double),
        ];
        // What may be null and is not asked first is refused: that is a matter of the checker.
        if let Ok(checked) = checked(&expression, &MAYBE) {
            quick_ways_agree(&checked, &values);
        }
    }
}
