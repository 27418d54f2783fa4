//! What every implementation of the context port keeps, in this process and over a socket.

use std::time::Duration;

use farm_core::port::{Blobs, Context};
use farm_rag::local::Local;
use farm_rag::remote::Remote;
use farm_rag::server::Settings;

use crate::tree::{Running, Tree, blob_id, project};

async fn keeps_the_contract(context: &dyn Context) {
    let tree = project();
    let mut query = tree.query("retry the session");
    let found = context.search(&query, &tree).await.unwrap();
    assert_eq!(found[0].path, "src/session.rs");
    assert_eq!(found[0].symbol, "Session.send_with_retry");
    assert_eq!(context.search(&query, &tree).await.unwrap(), found, "the same query has the same answer");
    for snippet in &found {
        assert_lines(snippet, &tree.text(&snippet.path));
    }

    query.path = Some("py/cache.py".into());
    assert_eq!(context.search(&query, &tree).await.unwrap()[0].path, "py/cache.py");

    query.blob_ids = vec![blob_id(tree.text("src/lib.rs").as_bytes()).to_string(), "unknown".into()];
    let found = context.search(&query, &tree).await.unwrap();
    let named: Vec<_> = found.iter().take(2).map(|s| s.path.as_str()).collect();
    assert!(named.contains(&"src/lib.rs") && named.contains(&"py/cache.py"), "{named:?}");

    query.tokens = 80;
    let used: usize = context.search(&query, &tree).await.unwrap().iter().map(|s| s.text.len() / 4).sum();
    assert!(used <= 80);

    let next = tree.with("src/backoff.rs", "pub fn exponential_backoff() {}\n");
    let found = context.search(&next.query("exponential backoff"), &next).await.unwrap();
    assert_eq!(found[0].path, "src/backoff.rs", "a new tree is searched, not the one before");

    let empty = Tree::default();
    assert_eq!(context.search(&empty.query("retry"), &empty).await.unwrap(), []);
    let blank = project();
    assert_eq!(context.search(&blank.query(""), &blank).await.unwrap(), []);
}

pub(crate) fn assert_lines(snippet: &farm_core::port::Snippet, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    let (first, last) = (snippet.start_line as usize, snippet.end_line as usize);
    assert!(1 <= first && first <= last && last <= lines.len(), "{snippet:?}");
    assert_eq!(snippet.text, lines[first - 1..last].join("\n"), "{}", snippet.path);
}

#[tokio::test]
async fn local_on_one_thread() {
    keeps_the_contract(&Local::new(Local::LIMITS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_on_many_threads() {
    keeps_the_contract(&Local::new(Local::LIMITS)).await;
}

#[tokio::test]
async fn remote() {
    let running = Running::start(Settings::default()).await;
    keeps_the_contract(&Remote::new(&running.url(), Duration::from_secs(30)).unwrap()).await;
    running.stop().await;
}

#[tokio::test]
async fn local_without_memory_still_answers() {
    let limits = farm_rag::index::Limits { cache_bytes: 0, ..Local::LIMITS };
    keeps_the_contract(&Local::new(limits)).await;
}

#[tokio::test]
async fn a_service_that_is_away_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let remote = Remote::new(&format!("http://{address}"), Duration::from_secs(5)).unwrap();
    let tree = project();
    let error = remote.search(&tree.query("retry"), &tree).await.unwrap_err();
    assert!(error.to_string().starts_with("context service: "), "{error}");
    assert!(Remote::new("not an address", Duration::from_secs(1)).is_err());
}

#[tokio::test]
async fn a_service_that_is_silent_costs_the_deadline_and_no_more() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let remote =
        Remote::new(&format!("http://{}", listener.local_addr().unwrap()), Duration::from_millis(50))
            .unwrap();
    let tree = project();
    assert!(!tree.files().is_empty());
    assert!(remote.search(&tree.query("retry"), &tree).await.is_err());
}
