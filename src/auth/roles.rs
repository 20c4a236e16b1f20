//! Who may do what: one table from route to role. What is not in it is not served.

use axum::http::Method;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What the holder of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Write events.
    Publish,
    /// Read windows, rows and progress; the dashboard.
    Query,
    /// Metrics and status.
    Ops,
    /// Read and register schemas at the embedded registry.
    Registry,
    /// Take tasks from queues, read what they are about, and report.
    Work,
    /// Make topics and register their schemas; read what is on them; apply and change jobs.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Publish, Self::Query, Self::Ops, Self::Registry, Self::Work, Self::Admin];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Query => "query",
            Self::Ops => "ops",
            Self::Registry => "registry",
            Self::Work => "work",
            Self::Admin => "admin",
        })
    }
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name of the token.
    pub name: Arc<str>,
    /// What it is good for.
    pub roles: Vec<Role>,
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: there is nothing to learn or to do.
    Nothing,
    /// Any token.
    Token,
    /// A token with one of these roles.
    Roles(&'static [Role]),
}

/// A route and its need.
#[derive(Debug, Clone)]
pub struct Rule {
    /// HTTP method; `GET` is `HEAD` too.
    pub method: Method,
    /// Path as the router has it.
    pub path: &'static str,
    /// See [`Need`].
    pub need: Need,
}

const fn get(path: &'static str, need: Need) -> Rule {
    Rule { method: Method::GET, path, need }
}

const fn post(path: &'static str, need: Need) -> Rule {
    Rule { method: Method::POST, path, need }
}

const fn put(path: &'static str, need: Need) -> Rule {
    Rule { method: Method::PUT, path, need }
}

const PUBLISH: Need = Need::Roles(&[Role::Publish]);
const QUERY: Need = Need::Roles(&[Role::Query]);
const OPS: Need = Need::Roles(&[Role::Ops]);
/// The dashboard shows some of it.
const STATUS: Need = Need::Roles(&[Role::Ops, Role::Query]);
const REGISTRY: Need = Need::Roles(&[Role::Registry]);
const ADMIN: Need = Need::Roles(&[Role::Admin]);
const WORK: Need = Need::Roles(&[Role::Work]);
/// Whoever publishes to topics, reads what comes of them, or makes them.
const TOPICS: Need = Need::Roles(&[Role::Query, Role::Publish, Role::Admin]);

/// Every route of every process.
pub static TABLE: [Rule; 76] = [
    post("/v1/flows", PUBLISH),
    post("/v1/events/{type}", PUBLISH),
    get("/v1/topics", TOPICS),
    put("/v1/topics/{topic}", ADMIN),
    // Records whole, of every topic: views show what their jobs let out.
    get("/v1/topics/{topic}/records", ADMIN),
    get("/v1/flows", QUERY),
    get("/v1/hours", QUERY),
    get("/v1/live", QUERY),
    get("/v1/progress", QUERY),
    get("/v1/top", QUERY),
    get("/v1/views", QUERY),
    get("/v1/views/{view}", QUERY),
    get("/v1/views/{view}/progress", QUERY),
    get("/v1/views/{view}/why", QUERY),
    get("/v1/views/{view}/windows", QUERY),
    get("/v1/jobs", QUERY),
    post("/v1/jobs", ADMIN),
    get("/v1/jobs/{job}", QUERY),
    post("/v1/jobs/{job}/{change}", ADMIN),
    // It reads and compares, and changes nothing.
    post("/v1/jobs/{job}/recompute", QUERY),
    post("/v1/jobs/{job}/recompute/write", ADMIN),
    post("/v1/documents", PUBLISH),
    get("/v1/documents", QUERY),
    get("/v1/documents/live", QUERY),
    get("/v1/documents/{file_id}", QUERY),
    get("/v1/documents/{file_id}/log", QUERY),
    get("/v1/documents/{file_id}/results", QUERY),
    get("/v1/documents/{file_id}/contents", Need::Roles(&[Role::Query, Role::Work])),
    post("/v1/documents/{file_id}/retry", PUBLISH),
    post("/v1/documents/{file_id}/cancel", PUBLISH),
    get("/v1/queues/{queue}", Need::Roles(&[Role::Query, Role::Work, Role::Ops])),
    post("/v1/queues/{queue}/lease", WORK),
    post("/v1/queues/{queue}/heartbeat", WORK),
    post("/v1/queues/{queue}/tasks/{task_id}/complete", WORK),
    post("/v1/queues/{queue}/tasks/{task_id}/fail", WORK),
    post("/v1/queues/{queue}/tasks/{task_id}/refuse", WORK),
    get("/metrics", OPS),
    get("/v1/status", STATUS),
    get("/v1/openapi.json", Need::Token),
    // Probes have no token. Without one the answer is ready or not, without the reasons.
    get("/v1/health", Need::Nothing),
    // The page holds no data: what it shows comes by the routes above.
    get("/", QUERY),
    get("/views", QUERY),
    get("/documents", QUERY),
    get("/documents/{file}", Need::Nothing),
    get("/dashboard/style.css", Need::Nothing),
    get("/dashboard/views.css", Need::Nothing),
    get("/dashboard/views.js", Need::Nothing),
    get("/dashboard/view.js", Need::Nothing),
    get("/dashboard/rows.js", Need::Nothing),
    get("/dashboard/series.js", Need::Nothing),
    get("/dashboard/stages.js", Need::Nothing),
    get("/dashboard/main.js", Need::Nothing),
    get("/dashboard/chart.js", Need::Nothing),
    get("/dashboard/table.js", Need::Nothing),
    get("/dashboard/theme.js", Need::Nothing),
    get("/dashboard/units.js", Need::Nothing),
    get("/dashboard/status.js", Need::Nothing),
    get("/dashboard/icon.svg", Need::Nothing),
    get("/login", Need::Nothing),
    post("/v1/session", Need::Nothing),
    get("/registry", REGISTRY),
    get("/registry/subjects", REGISTRY),
    post("/registry/subjects/{subject}", REGISTRY),
    get("/registry/subjects/{subject}/versions", REGISTRY),
    post("/registry/subjects/{subject}/versions", REGISTRY),
    get("/registry/subjects/{subject}/versions/{version}", REGISTRY),
    get("/registry/subjects/{subject}/versions/{version}/schema", REGISTRY),
    get("/registry/schemas/types", REGISTRY),
    get("/registry/schemas/ids/{id}", REGISTRY),
    get("/registry/schemas/ids/{id}/schema", REGISTRY),
    get("/registry/schemas/ids/{id}/versions", REGISTRY),
    post("/registry/compatibility/subjects/{subject}/versions/{version}", REGISTRY),
    get("/registry/config", REGISTRY),
    put("/registry/config", REGISTRY),
    get("/registry/config/{subject}", REGISTRY),
    put("/registry/config/{subject}", REGISTRY),
];

/// What was decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on.
    Allow,
    /// Nobody is asking, or with a token that is not good.
    Unauthorized,
    /// The caller has none of these roles; none at all: the route is in no table.
    Forbidden(&'static [Role]),
}

/// Decides about a request of `caller` to `route`, the path as the router has it; `None` if the router has none, which is for
/// the router to tell a caller who is known.
pub fn decide(method: &Method, route: Option<&str>, caller: Option<&Caller>) -> Verdict {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let rules = || TABLE.iter().filter(|rule| route == Some(rule.path));
    let need = rules().find(|rule| rule.method == *method).map(|rule| rule.need);
    let listed = route.is_none() || rules().next().is_some();
    match (need, caller) {
        (Some(Need::Nothing), _) | (Some(Need::Token), Some(_)) => Verdict::Allow,
        (_, None) => Verdict::Unauthorized,
        (Some(Need::Roles(roles)), Some(caller)) if caller.roles.iter().any(|held| roles.contains(held)) => {
            Verdict::Allow
        }
        (Some(Need::Roles(roles)), Some(_)) => Verdict::Forbidden(roles),
        (None, Some(_)) if listed => Verdict::Allow, // no such path or method: the router says so
        (None, Some(_)) => Verdict::Forbidden(&[]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(role: Role) -> Caller {
        Caller { name: "x".into(), roles: vec![role] }
    }

    #[test]
    fn every_rule_lets_its_role_in_and_no_other() {
        for rule in &TABLE {
            let verdict = |caller: Option<&Caller>| decide(&rule.method, Some(rule.path), caller);
            for role in Role::ALL {
                let expected = match rule.need {
                    Need::Roles(needed) if !needed.contains(&role) => Verdict::Forbidden(needed),
                    _ => Verdict::Allow,
                };
                assert_eq!(verdict(Some(&caller(role))), expected, "{} {} as {role}", rule.method, rule.path);
            }
            let nobody = if rule.need == Need::Nothing { Verdict::Allow } else { Verdict::Unauthorized };
            assert_eq!(verdict(None), nobody, "{} {} as nobody", rule.method, rule.path);
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_denied() {
        let ops = caller(Role::Ops);
        assert_eq!(decide(&Method::GET, Some("/v1/new"), Some(&ops)), Verdict::Forbidden(&[]));
        assert_eq!(decide(&Method::GET, Some("/v1/new"), None), Verdict::Unauthorized);
        assert_eq!(decide(&Method::GET, None, None), Verdict::Unauthorized);
        assert_eq!(decide(&Method::GET, None, Some(&ops)), Verdict::Allow, "the router says 404");
        assert_eq!(decide(&Method::DELETE, Some("/metrics"), Some(&ops)), Verdict::Allow, "the router says 405");
        assert_eq!(decide(&Method::HEAD, Some("/v1/hours"), Some(&ops)), Verdict::Forbidden(&[Role::Query]));
    }

    #[test]
    fn every_file_of_the_dashboard_is_in_the_table() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/query-api/dashboard")).unwrap();
        let mut files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.retain(|file| !file.ends_with(".html"));
        let mut listed: Vec<&str> = TABLE.iter().filter_map(|rule| rule.path.strip_prefix("/dashboard/")).collect();
        files.sort();
        listed.sort_unstable();
        assert_eq!(listed, files);
    }

    #[test]
    fn no_route_is_there_twice() {
        for (at, rule) in TABLE.iter().enumerate() {
            let again = TABLE.iter().skip(at + 1).any(|other| other.path == rule.path && other.method == rule.method);
            assert!(!again, "{} {}", rule.method, rule.path);
        }
    }
}
