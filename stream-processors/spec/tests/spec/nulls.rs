//! What the checker lets pass never meets a null that it cannot take.

use crate::support::{event_job, refused};
use proptest::prelude::*;
use tidemark_core::value::{Type, Value};
use tidemark_spec::cel::check::{self, Place, Scope};
use tidemark_spec::cel::eval::Frame;
use tidemark_spec::cel::parse::parse;
use tidemark_spec::{inline, yaml};

fn scope() -> Scope {
    let mut scope = Scope::new("name");
    for (at, (name, kind)) in [("i", Type::Long), ("j", Type::Long), ("s", Type::Text)].into_iter().enumerate() {
        scope.add(name, Ok(kind), true, Place::Field(at));
    }
    scope
}

fn whole(depth: u32) -> BoxedStrategy<String> {
    let leaf =
        prop_oneof![3 => Just("i".to_owned()), 2 => Just("j".to_owned()), 1 => (-2..3_i64).prop_map(|n| n.to_string())];
    if depth == 0 {
        return leaf.boxed();
    }
    let (a, b, c) = (whole(depth - 1), whole(depth - 1), truth(depth - 1));
    prop_oneof![
        3 => leaf,
        2 => (a.clone(), b.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
        1 => (a.clone(), b.clone()).prop_map(|(a, b)| format!("coalesce({a}, {b})")),
        1 => (c, a.clone(), b).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        1 => a.prop_map(|a| format!("(-{a})")),
        1 => Just("size(s)".to_owned()),
    ]
    .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<String> {
    let name = prop_oneof!["i", "j", "s"];
    let null = (name, prop_oneof!["==", "!="], any::<bool>()).prop_map(|(name, sign, turned)| {
        if turned { format!("(null {sign} {name})") } else { format!("({name} {sign} null)") }
    });
    let (a, b) = (whole(depth.min(1)), whole(0));
    let leaf = prop_oneof![
        4 => null,
        3 => (a.clone(), prop_oneof!["==", "!=", ">", "<="], b.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
        1 => (a, b).prop_map(|(a, b)| format!("({a} in [1, {b}])")),
        1 => Just("(null == null)".to_owned()),
        1 => Just("(s == 'x')".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let (a, b, c) = (truth(depth - 1), truth(depth - 1), truth(depth - 1));
    prop_oneof![
        2 => leaf,
        3 => (a.clone(), prop_oneof!["&&", "\\|\\|"], b.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
        1 => (a.clone(), b, c).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        1 => a.prop_map(|a| format!("!{a}")),
    ]
    .boxed()
}

/// An expression is checked by itself, and as it stands behind a `where`.
fn error_on(filter: Option<&str>, expression: &str, values: &[Value<'_>]) -> Option<String> {
    let mut scope = scope();
    let node = |text: &str, scope: &mut Scope, is_filter: bool| {
        let root = yaml::parse(&format!("e: |\n  {text}\n")).unwrap();
        let yaml::Data::Map(entries) = &root.data else { panic!("{text}") };
        let parsed = parse(entries[0].1.scalar().unwrap()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        let checked = check::check(&parsed, scope).ok()?;
        if is_filter {
            scope.assume(&parsed);
        }
        Some(checked.node)
    };
    let frame = Frame { fields: values, lets: &[] };
    if let Some(filter) = filter {
        let filter = node(filter, &mut scope, true)?;
        match filter.holds(frame) {
            Err(error) => return Some(error.to_string()),
            Ok(false) => return None,
            Ok(true) => {}
        }
    }
    node(expression, &mut scope, false)?.eval(frame).err().map(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn what_passes_never_fails_on_null(
        filter in proptest::option::of(truth(2)),
        expression in prop_oneof![whole(2), truth(3)],
        i in proptest::option::of(-2..3_i64),
        j in proptest::option::of(-2..3_i64),
        s in proptest::option::of("x?"),
    ) {
        let long = |n: Option<i64>| n.map_or(Value::Null, Value::Long);
        let values = [long(i), long(j), s.as_deref().map_or(Value::Null, Value::Text)];
        let error = error_on(filter.as_deref(), &expression, &values);
        prop_assert!(error.is_none(), "where {:?}: {} on {:?}: {}", filter, expression, values, error.unwrap_or_default());
    }
}

#[test]
fn equal_to_null_says_nothing_about_being_there() {
    for condition in ["opt == null && opt > 0", "null == opt && opt > 0", "!(opt != null) && opt > 0"] {
        let said = refused(&format!("where: '{condition}'\n"));
        assert!(said.contains("a comparison takes no null"), "{condition}: {said}");
    }
    for condition in ["opt == 5 && opt > 0", "5 == opt && opt > 0", "!(opt == null) && opt > 0"] {
        assert!(event_job(&format!("where: '{condition}'\n")).is_ok(), "{condition}");
    }
}

/// What `where` lets through has what it asked for.
#[test]
fn what_where_asks_for_is_there_afterwards() {
    let job = event_job(
        "
where: opt != null && early > 1 && text != null
let:
  early: coalesce(opt, 0) + 1
  twice: opt * 2
key: [{o: opt}]
aggregate: {c: count(), sum: sum(opt + twice), longest: max(size(text))}
tests:
  - steps:
      - push:
          - {k: k, at: 2026-01-01T10:00:00Z, opt: 5, text: abc}
          - {k: k, at: 2026-01-01T10:00:00Z, opt: 5}
          - {k: k, at: 2026-01-01T10:00:00Z, text: a}
      - expect: {filtered: 2, dead_letters: 0, rows: [{o: 5, c: 1, sum: 15, longest: 3}]}
",
    );
    let job = job.unwrap_or_else(|problems| panic!("{problems}"));
    let outcome = &inline::run("job.yaml", &job).unwrap()[0];
    assert!(outcome.failures.is_empty(), "{outcome}");
    // What `where` itself needs is computed before it.
    let said = refused("where: opt != null && early > 1\nlet: {early: opt + 1}\n");
    assert!(said.contains("`+` takes no null"), "{said}");
    let said = refused("where: opt != null || n > 0\nkey: [{o: opt}]\n");
    assert!(said.contains("the key `o` may be null"), "{said}");
}

/// What is proposed can be written.
#[test]
fn what_is_proposed_for_a_null_key_passes() {
    for name in ["opt", "text"] {
        let said = refused(&format!("key: [{name}]\n"));
        let (_, rest) = said.split_once("stands for it: `").unwrap_or_else(|| panic!("{said}"));
        let (key, rest) = rest.split_once('`').unwrap();
        event_job(&format!("key:\n  - {key}\n")).unwrap_or_else(|problems| panic!("{problems}"));
        let (_, rest) = rest.split_once("`where: ").unwrap_or_else(|| panic!("{said}"));
        let (condition, _) = rest.split_once('`').unwrap();
        event_job(&format!("key: [{name}]\nwhere: {condition}\n")).unwrap_or_else(|problems| panic!("{problems}"));
    }
}
