//! The port of every role.

use std::net::Ipv4Addr;

use farm_web::health::{self, Health};
use prometheus::{IntCounter, Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_role_says_that_it_lives_whether_it_is_ready_and_what_it_counted() {
    let registry = Registry::new();
    let counter = IntCounter::new("patchfarm_test_total", "Of a test.").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    counter.inc_by(3);
    let health = Health::new();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(health::serve(listener, registry, health.clone(), stop.clone()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };

    assert_eq!(get("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await, (503, "not ready: starting\n".to_owned()));
    health.set_ready(true, "");
    assert_eq!(get("/readyz").await, (200, "ok\n".to_owned()));
    health.clone().set_ready(false, "draining");
    assert_eq!(get("/readyz").await, (503, "not ready: draining\n".to_owned()));
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("# HELP patchfarm_test_total Of a test.\n"), "{metrics}");
    assert!(metrics.contains("patchfarm_test_total 3\n"), "{metrics}");
    stop.cancel();
    server.await.unwrap().unwrap();
}
