//! What `/v1/views` and the rows of a view say.

use serde_json::json;
use tidemark_views::{Kind, Value, ViewSpec, ViewStore, ViewVersion, Windowing};

use crate::support::*;
use crate::views_support::*;

const START: i64 = NOW_HOUR * HOUR_MS;

#[tokio::test]
async fn a_view_that_is_put_in_the_catalogue_is_listed() {
    let f = Fixture::new().await;
    assert_eq!(f.get("/v1/views").await.json(), json!({"views": []}));
    let (current, next) = (version(2, HOURS), version(3, Windowing::Tumbling { size_ms: MINUTE_MS }));
    f.views.put_catalog(&entry("access", 1, &[current.clone(), next])).await.unwrap();
    f.views.create(&current.table).await.unwrap();
    f.fill(&current, START - HOUR_MS, &[("a", 1)]).await;
    f.fill(&current, START, &[("a", 1), ("b", 2), ("c", 2)]).await;
    f.reached(&current, START + 5, 1).await;
    let listed = f.until("/v1/views", |a| a.text.contains("\"newest\":{")).await.json();
    let view = &listed["views"][0];
    assert_eq!((&view["view"], &view["current"], &view["previous"]), (&json!("access"), &json!(2), &json!(3)));
    assert_eq!(view["window"], json!({"kind": "tumbling", "size_ms": HOUR_MS}));
    let times = ["grace_ms", "amend_for_ms", "retention_ms", "freshness_ms", "watermark_delay_ms"];
    let expected = [GRACE_MS, AMEND_MS, 7 * 24 * HOUR_MS, 120_000, 25 * MINUTE_MS - 5];
    assert_eq!(times.map(|name| view[name].as_i64().unwrap()), expected);
    assert_eq!(view["key"], json!([{"name": "ip", "kind": "text"}, {"name": "port", "kind": "long"}]));
    assert_eq!(
        view["values"],
        json!([
            {"name": "bytes", "kind": "integer", "description": "", "error": null},
            {"name": "visitors", "kind": "double", "description": "distinct", "error": 0.02},
            {"name": "records", "kind": "long", "description": "", "error": null},
        ])
    );
    assert_eq!((&view["sources"], &view["description"]), (&json!(["access.logged"]), &json!("requests by address")));
    assert_eq!(view["watermark"], "2026-11-21T03:00:00.005Z");
    let newest = &view["newest"];
    let expected = (&json!("2026-11-21T03:00:00Z"), &json!("open"), &json!(3), &json!(3));
    assert_eq!((&newest["start"], &newest["state"], &newest["rows"], &newest["records"]), expected);
    assert_eq!((&view["others"][0]["version"], &view["others"][0]["newest"]), (&json!(3), &json!(null)));
}

/// Every kind of column, and what there is no number for.
fn wide() -> ViewVersion {
    let key =
        [("name", Kind::Text), ("n", Kind::Long), ("id", Kind::Integer), ("ok", Kind::Boolean), ("at", Kind::Time)];
    let values = [
        ("sum", Kind::Integer),
        ("mean", Kind::Double),
        ("first", Kind::Time),
        ("last", Kind::Text),
        ("flag", Kind::Boolean),
        ("top", Kind::Json),
        ("records", Kind::Long),
    ];
    let table = ViewSpec {
        name: "wide".into(),
        clustering: columns(&key),
        values: columns(&values),
        ..version(1, HOURS).table
    };
    ViewVersion { table, ..version(1, HOURS) }
}

fn wide_key(name: &str, n: i64, id: i128, ok: bool, at: i64) -> Vec<Value> {
    vec![Value::Text(name.into()), Value::Long(n), Value::Integer(id), Value::Boolean(ok), Value::Time(at)]
}

async fn wide_rows() -> Fixture {
    let v = wide();
    let f = access(&v).await;
    let full = vec![
        Value::Integer(1 << 70),
        Value::Double(0.25),
        Value::Time(START + 1),
        Value::Text("x,\"y".into()),
        Value::Boolean(true),
        Value::Json(r#"[{"ip": "a", "n": 12345678901234567890123}]"#.into()),
        Value::Long(3),
    ];
    let mut nothing = vec![Value::Null; 6];
    nothing[1] = Value::Double(f64::INFINITY);
    nothing.push(Value::Long(1));
    let rows = [
        view_row(START, 1, wide_key("b", -1, 1 << 80, true, START), full, 5),
        view_row(START, 0, wide_key("a", 7, -2, false, 0), nothing, 5),
    ];
    f.views.put_rows(&v.table, &rows).await.unwrap();
    for m in 0..2 {
        f.known(&v, window(&v, START, m, |_| {})).await;
    }
    f.reached(&v, START + HOUR_MS + GRACE_MS, 1).await;
    f
}

#[tokio::test]
async fn rows_of_every_kind_in_json() {
    let answer = wide_rows().await.get("/v1/views/access").await;
    let rows = concat!(
        r#""rows":[{"window_start":"2026-11-21T03:00:00Z","window_end":"2026-11-21T04:00:00Z","name":"a","n":7,"id":-2,"#,
        r#""ok":false,"at":"1970-01-01T00:00:00Z","sum":null,"mean":null,"first":null,"last":null,"flag":null,"top":null,"#,
        r#""records":1},{"window_start":"2026-11-21T03:00:00Z","window_end":"2026-11-21T04:00:00Z","name":"b","n":-1,"#,
        r#""id":1208925819614629174706176,"ok":true,"at":"2026-11-21T03:00:00Z","sum":1180591620717411303424,"mean":0.25,"#,
        r#""first":"2026-11-21T03:00:00.001Z","last":"x,\"y","flag":true,"#,
        r#""top":[{"ip": "a", "n": 12345678901234567890123}],"records":3}],"next":null}"#
    );
    assert!(answer.text.ends_with(rows), "{}", answer.text);
    let json = answer.json();
    assert_eq!((&json["view"], &json["version"]), (&json!("access"), &json!(1)));
    assert_eq!(json["window"], json!({"start": "2026-11-21T03:00:00Z", "end": "2026-11-21T04:00:00Z"}));
    let c = &json["completeness"];
    assert_eq!((&c["state"], &c["records"], &c["rows"]), (&json!("final"), &json!(2), &json!(2)));
    assert_eq!(answer.header("tidemark-state"), "final");
    assert_eq!(answer.header("cache-control"), "no-cache");
}

#[tokio::test]
async fn rows_of_every_kind_in_csv() {
    let f = wide_rows().await;
    let expected = "window_start,window_end,name,n,id,ok,at,sum,mean,first,last,flag,top,records\n\
        2026-11-21T03:00:00Z,2026-11-21T04:00:00Z,a,7,-2,false,1970-01-01T00:00:00Z,,,,,,,1\n\
        2026-11-21T03:00:00Z,2026-11-21T04:00:00Z,b,-1,1208925819614629174706176,true,2026-11-21T03:00:00Z,\
        1180591620717411303424,0.25,2026-11-21T03:00:00.001Z,\"x,\"\"y\",true,\
        \"[{\"\"ip\"\": \"\"a\"\", \"\"n\"\": 12345678901234567890123}]\",3\n";
    let by_accept = f.ask("/v1/views/access", &[("accept", "text/csv")]).await;
    let by_name = f.get("/v1/views/access?format=csv&limit=10").await;
    for answer in [by_accept, by_name] {
        assert_eq!(answer.text, expected);
        assert_eq!(answer.header("content-disposition"), "attachment; filename=\"access-20261121T03Z.csv\"");
    }
}

#[tokio::test]
async fn rows_are_filtered_by_any_key_column_of_its_kind() {
    let f = wide_rows().await;
    let names = async |filter: &str| {
        let rows = f.get(&format!("/v1/views/access?{filter}")).await.json()["rows"].clone();
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    for (filter, expected) in [
        ("name=b", "b"),
        ("n=7", "a"),
        ("id=1208925819614629174706176", "b"),
        ("ok=false", "a"),
        ("at=1970-01-01T00:00:00Z", "a"),
        ("key.at=0&name=a", "a"),
        ("name=a&n=-1", ""),
        ("name=", ""),
    ] {
        assert_eq!(names(filter).await, expected, "{filter}");
    }
    for (bad, parameter, fix) in [
        ("n=x", "n", "a whole number of 64 bits"),
        ("ok=1", "ok", "`true` or `false`"),
        ("name=a&key.name=a", "key.name", "give one of them"),
        ("nam=a", "nam", "did you mean `name`?"),
        ("sum=1", "sum", "this path takes window, from"),
    ] {
        let problem = f.get(&format!("/v1/views/access?{bad}")).await.problem(400);
        assert_eq!(problem["parameter"], parameter);
        assert!(problem["fix"].as_str().unwrap().contains(fix), "{bad}: {problem}");
    }
    let long = f.get(&format!("/v1/views/access?name={}", "x".repeat(20_001))).await.problem(400);
    assert!(long["fix"].as_str().unwrap().contains("20000 bytes"), "{long}");
}

#[tokio::test]
async fn a_key_column_named_as_a_parameter_is_filtered_with_a_prefix() {
    let mut v = version(1, HOURS);
    v.table.clustering = columns(&[("limit", Kind::Text), ("hour", Kind::Long)]);
    let f = access(&v).await;
    f.fill(&v, START, &[("a", 1), ("b", 2)]).await;
    let count =
        async |query: &str| f.get(&format!("/v1/views/access?{query}")).await.json()["rows"].as_array().unwrap().len();
    assert_eq!(count("limit=2").await, 2);
    assert_eq!(count("key.limit=a").await, 1);
    assert_eq!(count(&format!("key.hour=2&hour={NOW_HOUR}")).await, 1);
}

#[tokio::test]
async fn unknown_views_and_versions_are_met_with_what_there_is() {
    let f = Fixture::new().await;
    assert!(f.get("/v1/views/x").await.problem(404)["fix"].as_str().unwrap().contains("apply a job"));
    let mut waiting = entry("logins.daily", 1, &[version(4, HOURS)]);
    waiting.current = None;
    f.views.put_catalog(&waiting).await.unwrap();
    f.views.put_catalog(&entry("access.hourly", 1, &[version(2, HOURS), version(1, HOURS)])).await.unwrap();
    f.until("/v1/views", |a| a.text.contains("logins.daily")).await;
    for path in ["", "/windows", "/progress", "/why"] {
        for (view, fix) in [
            ("acces.hourly", "did you mean `access.hourly`?"),
            ("%ff", "there are access.hourly, logins.daily"),
            ("something.else.at.all", "there are access.hourly, logins.daily"),
            ("logins.daily", "`version=`: 4"),
        ] {
            let problem = f.get(&format!("/v1/views/{view}{path}")).await.problem(404);
            assert_eq!(problem["type"], "urn:tidemark:problem:no_view");
            assert!(problem["fix"].as_str().unwrap().contains(fix), "{problem}");
        }
        let problem = f.get(&format!("/v1/views/access.hourly{path}?version=3")).await.problem(404);
        assert_eq!(problem["fix"], "leave `version` out, or give one of 2, 1; 2 is current");
        assert_eq!(f.get(&format!("/v1/views/logins.daily{path}?version=4")).await.status, 200);
    }
}

#[tokio::test]
async fn an_unchanged_window_is_not_sent_again_and_a_sealed_one_may_be_kept() {
    let v = version(1, HOURS);
    let f = access(&v).await;
    f.fill(&v, START, &[("a", 0), ("b", 1), ("c", 2)]).await;
    f.reached(&v, START + HOUR_MS + GRACE_MS, 1).await;
    let uri = format!("/v1/views/access?window={START}");
    let first = f.get(&uri).await;
    let again = f.ask(&uri, &[("if-none-match", first.header("etag"))]).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    let filtered = f.get(&format!("{uri}&ip=a")).await;
    assert_ne!(filtered.header("etag"), first.header("etag"));
    for m in 0..M {
        f.known(&v, window(&v, START, m, |l| (l.sealed, l.revision) = (true, 6))).await;
    }
    let sealed = f.ask(&uri, &[("if-none-match", first.header("etag"))]).await;
    assert_eq!((sealed.status.as_u16(), sealed.header("tidemark-state")), (200, "sealed"));
    assert_eq!(sealed.header("cache-control"), "max-age=60");
}

/// The flows have paths of their own, and are a view as any other.
#[tokio::test]
async fn the_flows_are_a_view_too() {
    let f = Fixture::new().await;
    f.hour(NOW_HOUR, &[key("a", "d", "v"), key("b", "d", "v")]).await;
    f.watermark(Some(0), 1).await;
    let flows = ViewVersion { table: spec(), ..version(1, HOURS) };
    f.views.put_catalog(&entry("flows.hourly", 1, &[flows])).await.unwrap();
    let (own, any) =
        (f.get("/v1/flows").await.json(), f.get(&format!("/v1/views/flows.hourly?hour={NOW_HOUR}")).await.json());
    assert_eq!(own["completeness"], any["completeness"]);
    for name in ["src_app", "dest_app", "vpc_id", "bytes_rx", "bytes_tx", "records"] {
        assert_eq!(own["flows"][1][name], any["rows"][1][name]);
    }
    assert_eq!(any["rows"].as_array().unwrap().len(), 2);
}
