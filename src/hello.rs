//! What a newcomer is told at the start.

use crate::config::Config;
use crate::process::Process;
use std::time::Duration;

/// Says what runs on what, then waits for every part to be ready and says what to do first.
pub(crate) async fn say_hello(hello: Hello) {
    println!("\n  log       {}\n  views     {}\n  registry  {}", hello.log, hello.views, hello.registry);
    let (address, began) = (hello.address, std::time::Instant::now());
    let mut told = String::new();
    loop {
        let waiting =
            hello.checks.iter().find_map(|check| (check.check)().err().map(|why| format!("{}: {why}", check.name)));
        let Some(waiting) = waiting else { break };
        if waiting != told && began.elapsed() > Duration::from_secs(1) {
            println!("  waiting   {waiting}");
            told = waiting;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("\n  Tidemark is up:  http://{address}\n");
    println!("  Publish a flow, then read it back, marked as partial:\n");
    let token = if hello.needs_token { " -H \"authorization: Bearer $TOKEN\"" } else { "" };
    println!("    curl http://{address}/v1/flows{token} -H 'content-type: application/json' \\");
    let flow = r#"{"src_app":"shop","dest_app":"db","vpc_id":"vpc-1","hour":'$(($(date +%s)/3600))',"bytes_tx":10,"bytes_rx":20}"#;
    println!("      -d '{flow}'");
    println!("    curl{token} 'http://{address}/v1/flows?src_app=shop'\n");
    println!("  Ctrl-C stops; starting again goes on where it stopped.\n");
}

/// What a newcomer is told.
pub(crate) struct Hello {
    log: String,
    views: String,
    registry: String,
    address: std::net::SocketAddr,
    needs_token: bool,
    checks: Vec<tidemark_query_api::Check>,
}

impl Hello {
    pub(crate) fn new(config: &Config, process: &Process, address: std::net::SocketAddr, needs_token: bool) -> Self {
        let dir = process.replica.dir.display();
        let embedded = || format!("embedded, in {dir}");
        Self {
            log: config.kafka.bootstrap.as_ref().map_or_else(embedded, |kafka| format!("Kafka at {kafka}")),
            views: config.cql.contact_points.first().map_or_else(embedded, |cql| format!("CQL store at {cql}")),
            registry: config.registry.url.clone().unwrap_or_else(|| format!("embedded, at http://{address}/registry")),
            address,
            needs_token,
            checks: process.ops.checks.clone(),
        }
    }
}
