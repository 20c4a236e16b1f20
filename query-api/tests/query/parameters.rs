//! Every parameter, good and bad.

use crate::support::*;

async fn filled() -> Fixture {
    let f = Fixture::new().await;
    f.hour(NOW_HOUR, &[key("a", "x", "v"), key("a", "y", "w"), key("b", "x", "v"), key("c", "z", "v")]).await;
    f.watermark(Some(0), 1).await;
    f
}

#[tokio::test]
async fn filters_are_exact_and_combine() {
    let f = filled().await;
    let cases = [
        ("", 4),
        ("src_app=a", 2),
        ("src_app=A", 0),
        ("dest_app=x", 2),
        ("vpc_id=v", 3),
        ("src_app=a&vpc_id=w", 1),
        ("src_app=a&dest_app=x&vpc_id=v", 1),
        ("src_app=a&dest_app=x&vpc_id=w", 0),
        ("dest_app=x&vpc_id=v", 2),
    ];
    for (filter, rows) in cases {
        let answer = f.get(&format!("/v1/flows?{filter}")).await.json();
        assert_eq!(answer["flows"].as_array().unwrap().len(), rows, "{filter}");
        assert_eq!(answer["completeness"]["records"], 4, "of the hour, whatever the filter");
    }
}

#[tokio::test]
async fn bad_parameters_are_refused_with_name_and_fix() {
    let f = filled().await;
    let long = format!("/v1/flows?src_app={}", "x".repeat(257));
    let cases = [
        ("/v1/flows?hour=x", "hour"),
        ("/v1/flows?hour=-1", "hour"),
        ("/v1/flows?hour=1.5", "hour"),
        ("/v1/flows?hour=99999999999", "hour"),
        ("/v1/flows?hour=1&from=1", "hour"),
        ("/v1/flows?hour=", "hour"),
        ("/v1/flows?from=soon", "from"),
        ("/v1/flows?to=3600000", "from"),
        ("/v1/flows?from=7200000&to=3600000", "to"),
        ("/v1/flows?from=0&to=2682000001", "to"),
        ("/v1/flows?from=2026-11-21", "from"),
        ("/v1/flows?limit=0", "limit"),
        ("/v1/flows?limit=10001", "limit"),
        ("/v1/flows?limit=ten", "limit"),
        ("/v1/flows?format=xml", "format"),
        ("/v1/flows?src_app=", "src_app"),
        (long.as_str(), "src_app"),
        ("/v1/flows?cursor=", "cursor"),
        ("/v1/flows?cursor=AAAAAAAAAAAAAAAA", "cursor"),
        ("/v1/flows?cursor=%00", "cursor"),
        ("/v1/flows?hour=1&hour=1", "hour"),
        ("/v1/flows?scr_app=a", "scr_app"),
        ("/v1/hours?limit=745", "limit"),
        ("/v1/hours?cursor=x", "cursor"),
        ("/v1/hours?from=x", "from"),
        ("/v1/hours?hour=1", "hour"),
        ("/v1/top?by=bytes", "by"),
        ("/v1/top?format=csv", "format"),
        ("/v1/progress?x=1", "x"),
        ("/v1/health?x=1", "x"),
        ("/v1/live?x=1", "x"),
        ("/v1/openapi.json?x=1", "x"),
    ];
    for (uri, parameter) in cases {
        let problem = f.get(uri).await.problem(400);
        assert_eq!(problem["parameter"], parameter, "{uri}");
        assert_eq!(problem["type"], "urn:tidemark:problem:bad_parameter");
        assert!(!problem["fix"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
    }
    let problem = f.get("/v1/flows?scr_app=a").await.problem(400);
    assert_eq!(problem["fix"], "did you mean `src_app`?");
}

#[tokio::test]
async fn a_cursor_serves_its_own_question_only() {
    let f = filled().await;
    let next = f.get("/v1/flows?limit=2").await.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(f.get(&format!("/v1/flows?limit=1&cursor={next}")).await.json()["flows"].as_array().unwrap().len(), 1);
    for other in [format!("src_app=a&cursor={next}"), format!("hour=7&cursor={next}"), format!("cursor=A{next}")] {
        assert_eq!(f.get(&format!("/v1/flows?{other}")).await.problem(400)["parameter"], "cursor");
    }
    f.get(&format!("/v1/hours?cursor={next}")).await.problem(400);
}

#[tokio::test]
async fn times_have_two_forms() {
    let f = filled().await;
    for from in ["2026-11-21T03:00:00Z", "2026-11-21T04:00:00+01:00", "2026-11-21T04:00:00%2B01:00", "1795230000000"] {
        let answer = f.get(&format!("/v1/flows?from={from}")).await.json();
        assert_eq!(answer["window"]["start"], "2026-11-21T03:00:00Z", "{from}");
        assert_eq!(answer["window"]["end"], "2026-11-21T04:00:00Z", "up to now unless `to` is given");
    }
}
