use crate::support::{DAILY, ERRORS, HOURLY, SESSIONS, job};
use tidemark_spec::inline;

#[test]
fn the_examples_pass_their_tests() {
    for text in [HOURLY, ERRORS, SESSIONS, DAILY] {
        let job = job(text).unwrap_or_else(|problems| panic!("{problems}"));
        let outcomes = inline::run("job.yaml", &job).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!outcomes.is_empty());
        for outcome in outcomes {
            assert!(outcome.failures.is_empty(), "{outcome}");
        }
    }
}

#[test]
fn a_test_that_fails_says_what_differs() {
    let wrong = HOURLY
        .replace("requests: 2, bytes: 10", "requests: 3, bytes: 10")
        .replace("- {class: 4xx, requests: 1,", "- {class: 5xx, requests: 1,");
    let outcomes = inline::run("job.yaml", &job(&wrong).unwrap()).unwrap();
    let text = outcomes[0].to_string();
    for line in ["class=2xx requests: expected 3, got 2", "class=5xx is missing", "class=4xx was not expected"] {
        assert!(
            text.replace("window_end=2026-01-01T11:00:00Z window_start=2026-01-01T10:00:00Z", "")
                .contains(line.split(' ').next().unwrap()),
            "{text}"
        );
        assert!(text.contains(line.split_once(' ').unwrap().1), "{line}: {text}");
    }
}
