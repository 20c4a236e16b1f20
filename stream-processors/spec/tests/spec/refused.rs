use crate::support::{HOURLY, emitting, job};

/// The example with one line changed, and what is said of it: `line:column`, the rule, the fix.
const CASES: &[(&str, &str, &[&str])] = &[
    ("time: at", "time: att", &["job.yaml:7:9: `source.time` names `att`, which is no field; did you mean `at`?"]),
    ("time: at", "time: client", &["`source.time` takes timestamp; `client` is string"]),
    (
        "topics: logs.access",
        "topics: logs.acces",
        &["there is no topic `logs.acces` with a schema; did you mean `logs.access`?"],
    ),
    (
        "status / 100",
        "stauts / 100",
        &["job.yaml:10:17: there is no field of logs.access (nor `let`) called `stauts`; did you mean `status`?"],
    ),
    ("string(status / 100)", "status / 100", &["there is no int + string; string(x) makes a string of it"]),
    ("status / 100", "status / 100.0", &["there is no int / double; make both doubles: double(x)"]),
    ("sum(bytes)", "sum(path)", &["sum takes numbers, not string"]),
    ("sum(bytes)", "summ(bytes)", &["job.yaml:16:10: there is no aggregate `summ`; did you mean `sum`?"]),
    ("sum(bytes)", "bytes + 1", &["there is no aggregate"]),
    (
        "sum(bytes)",
        "sum(bytes + 1)",
        &[
            "`+` takes no null, and this may be null; test it, `bytes != null && …`, or give a value for it, `coalesce(bytes, …)`",
        ],
    ),
    ("count_if(status >= 400)", "count_if(status)", &["count_if takes a condition"]),
    ("top_k(path, 10)", "top_k(path)", &["top_k(x, k): how many?"]),
    ("late: amend for 7d", "", &["`late` is missing; write `late: amend for 7d`"]),
    ("late: amend for 7d", "late: amend", &["`late` is `amend`"]),
    ("late: amend for 7d", "late: amend for 8000d", &["`late` is 8000d; the longest time is 7300d"]),
    (
        "freshness: 1h",
        "freshness: 10m",
        &["a window cannot be final 10m after its end", "make `freshness` 10m30s or more"],
    ),
    ("key: [class]", "key: [clas]", &["called `clas`; did you mean `class`?"]),
    ("key: [class]", "key: [referrer]", &["the key `referrer` may be null", "coalesce(referrer"]),
    (
        "key: [class]",
        "key: [class, client]\nview: {clustering: [client]}",
        &["the key `class` is not in `view.clustering`"],
    ),
    (
        "key: [class]",
        "key: [class]\nview: {clustering: [klass]}",
        &["`view.clustering` names `klass`, which is not in the key; did you mean `class`?"],
    ),
    (
        "window: {tumbling: 1h}",
        "window: {tumbling: 1 hour}",
        &["`window.tumbling` is a length of time, not `1 hour`; write for example 30s"],
    ),
    ("window: {tumbling: 1h}", "window: {hopping: 1h}", &["`window` is one of three kinds"]),
    ("window: {tumbling: 1h}", "window: {hopping: 1h, every: 1s}", &["at most 100 times"]),
    ("grace: 10m", "gracee: 10m", &["job.yaml:8:3: there is no key `gracee` under `source`; did you mean `grace`?"]),
    ("version: 1", "version: 0", &["`version` is a whole number from 1"]),
    ("requests: count()", "records: count()", &["`records` is a column that every view has"]),
    ("requests: count()", "class: count()", &["a column `class` is there already"]),
    ("double(errors)", "double(erors)", &["there is no aggregate or key called `erors`; did you mean `errors`?"]),
    ("double(errors)", "errors", &["there is no int / double"]),
    ("\"xx\"", "\"xx", &["is not a CEL expression"]),
    ("status / 100)", "status >)", &["is not a CEL expression: `)` is not expected here"]),
    ("string(status / 100) + \"xx\"", "status >", &["is not a CEL expression: it ends too early"]),
    (
        "class: string(status / 100) + \"xx\"",
        "class: !(status == 1)",
        &["job.yaml:10:10: tags (`!`) are not read; put an expression that begins with `!` in quotes"],
    ),
    (
        "count_if(status >= 400)",
        "count_if(has(bytes))",
        &["invalid argument to has() macro; write `x != null` for `has(x)`"],
    ),
    (
        "aggregate:\n  requests: count()",
        "aggregate: {q: quantile(bytes, 0.5)}\nx:\n  requests: count()",
        &["job.yaml:14:32: `0.5)` is a piece of an expression", "put the expression in quotes"],
    ),
    ("key: [class]", "key: [coalesce(referrer, path)]", &["is a piece of an expression"]),
    ("top_k(path, 10)", "top_k(path, -1)", &["top_k(x, k) takes a small whole number there, 1 or more, not -1"]),
    ("top_k(path, 10)", "top_k(path, 5000000000)", &["1 or more, not 5000000000"]),
    ("top_k(path, 10)", "top_k(path, 1.5)", &["1 or more, not 1.5"]),
    ("job: access.hourly", "job: 1 x", &["is no name for a job"]),
    ("job: access.hourly", "job: access.hourly-of-all-sites-together", &["is no name for a job", "at most 32"]),
];

#[test]
fn what_is_wrong_is_said_with_place_rule_and_fix() {
    for (from, to, said) in CASES {
        let example = emitting();
        let text = example.replacen(from, to, 1);
        assert_ne!(text, example, "{from}");
        let problems = job(&text).expect_err(to).to_string();
        for said in *said {
            assert!(problems.contains(said), "{to}: {said}\n{problems}");
        }
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let text = HOURLY.replace("status / 100", "stauts / 100").replace("sum(bytes)", "summ(bytes)");
    let problems = job(&text).unwrap_err();
    assert_eq!(problems.problems.len(), 2, "{problems}");
}
