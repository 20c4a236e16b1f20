use crate::support::{HOURLY, job};

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
    ("late: amend for 7d", "late: amend for 70d", &["windows can change for 70d, but rows are kept for 7d only"]),
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
    ("job: access.hourly", "job: 1 x", &["is no name for a job"]),
];

#[test]
fn what_is_wrong_is_said_with_place_rule_and_fix() {
    for (from, to, said) in CASES {
        let text = HOURLY.replacen(from, to, 1);
        assert_ne!(text, HOURLY, "{from}");
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
