//! The proxy: bytes go through, late, not at all or never again; single Kafka requests are kept back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use tidemark_harness::proxy::{Action, Request};
use tidemark_harness::{Kafka, Proxy};

/// A server that sends back what it gets, behind a proxy.
fn echo() -> (Proxy, TcpStream) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::bind().unwrap();
    proxy.forward_to(&server.local_addr().unwrap().to_string());
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut back = stream.try_clone().unwrap();
                std::io::copy(&mut stream, &mut back)
            });
        }
    });
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    (proxy, client)
}

fn ask(client: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    client.write_all(b"ping")?;
    let mut answer = [0; 4];
    client.read_exact(&mut answer).map(|()| answer)
}

#[test]
fn delays_freezes_and_cuts() {
    let (proxy, mut client) = echo();
    assert_eq!(&ask(&mut client).unwrap(), b"ping");

    proxy.delay(Duration::from_millis(60));
    let began = Instant::now();
    assert_eq!(&ask(&mut client).unwrap(), b"ping");
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    proxy.delay(Duration::ZERO);

    proxy.freeze(true);
    assert!(ask(&mut client).is_err(), "answered through a frozen proxy");
    proxy.freeze(false);
    let mut late = [0; 4];
    client.read_exact(&mut late).unwrap();
    assert_eq!(&late, b"ping");

    proxy.cut(true);
    assert!(ask(&mut client).is_err(), "answered through a cut proxy");
    let refused = TcpStream::connect(proxy.address()).and_then(|mut stream| ask(&mut stream));
    assert!(refused.is_err());
    proxy.cut(false);
    assert_eq!(&ask(&mut TcpStream::connect(proxy.address()).unwrap()).unwrap(), b"ping");
}

/// A client told to come by the proxy does, and a request that is kept back reaches the broker when it is sent on.
#[test]
fn keeps_a_kafka_request_back() {
    let proxy = Proxy::bind().unwrap();
    let kafka = Kafka::start_behind(&proxy, &[]).unwrap();
    let (keep, kept) = channel();
    let keep = Mutex::new(keep);
    proxy.intercept(move |request| {
        if request.api_key != Request::INIT_PRODUCER_ID || request.client != "held" {
            return Action::Forward;
        }
        keep.lock().unwrap().send(request.clone()).unwrap();
        Action::KeepAndCut
    });
    let init = |client: &str, bootstrap: &str| {
        let config = [("bootstrap.servers", bootstrap), ("client.id", client), ("transactional.id", "proxy")];
        let producer: BaseProducer =
            config.iter().fold(&mut ClientConfig::new(), |all, (k, v)| all.set(*k, *v)).create().unwrap();
        producer.init_transactions(Duration::from_secs(3))
    };
    init("held", kafka.bootstrap()).unwrap();
    init("free", &proxy.address()).unwrap();
    assert!(init("held", &proxy.address()).is_err(), "the request went past the proxy");

    // Throttle time (4 bytes), error code (2), producer id and epoch, with tags around them in later versions.
    let answer = kept.recv().unwrap().send_to(kafka.bootstrap()).unwrap();
    assert!(answer.len() >= 16, "{answer:?}");
}
