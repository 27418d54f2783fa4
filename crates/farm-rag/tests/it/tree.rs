//! Trees in memory, and a running service.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use farm_core::id::Oid;
use farm_core::port::{Blobs, ContextQuery, TreeFile};
use farm_rag::server::{ServeError, Settings, serve};
use sha1::Digest;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A tree as git would name its blobs.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        files.into_iter().fold(Self::default(), |tree, (path, text)| tree.with(path, text))
    }

    pub(crate) fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), content.as_ref().to_vec());
        self
    }

    pub(crate) fn oid(&self) -> Oid {
        let listing: String =
            self.files.iter().map(|(path, content)| format!("{path} {}\n", blob_id(content))).collect();
        blob_id(listing.as_bytes())
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&self.files[path]).into_owned()
    }

    pub(crate) fn query(&self, goal: &str) -> ContextQuery {
        ContextQuery {
            tree: self.oid(),
            goal: goal.to_owned(),
            path: None,
            blob_ids: Vec::new(),
            tokens: 8_000,
        }
    }
}

impl Blobs for Tree {
    fn files(&self) -> Vec<TreeFile> {
        let file = |(path, content): (&String, &Vec<u8>)| TreeFile {
            path: path.clone(),
            oid: blob_id(content),
            size: content.len() as u64,
        };
        self.files.iter().map(file).collect()
    }

    fn read(&self, oid: &Oid) -> Option<Vec<u8>> {
        self.files.values().find(|content| blob_id(content) == *oid).cloned()
    }
}

pub(crate) fn blob_id(content: &[u8]) -> Oid {
    let head = format!("blob {}\0", content.len());
    let digest = sha1::Sha1::new().chain_update(head).chain_update(content).finalize();
    Oid::new(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).unwrap()
}

/// A small project in several languages.
pub(crate) fn project() -> Tree {
    Tree::of([
        (
            "src/session.rs",
            "use crate::http::Header;\n\n/// Keeps cookies between requests.\npub struct Session {\n    jar: CookieJar,\n}\n\n\
             impl Session {\n    /// Sends with retries.\n    pub fn send_with_retry(&self, times: u32) -> Result<Reply, Error> {\n        \
             for attempt in 0..times {\n            self.send(attempt)?;\n        }\n        Err(Error::Exhausted)\n    }\n\n    \
             pub fn close(self) {}\n}\n",
        ),
        (
            "src/http.rs",
            "pub struct Header;\n\npub fn parse_header(line: &str) -> Option<Header> {\n    line.split_once(':')?;\n    Some(Header)\n}\n",
        ),
        ("src/lib.rs", "pub mod http;\npub mod session;\n"),
        (
            "tests/session.rs",
            "#[test]\nfn session_retry_is_bounded() {\n    let session = Session::default();\n    session.send_with_retry(3).unwrap();\n    // retry retry retry\n}\n",
        ),
        (
            "py/cache.py",
            "import os\n\nMAX_ENTRIES = 10\n\n\nclass Cache:\n    def evict(self, key):\n        return self.entries.pop(key)\n\n\n@memo\ndef expire_all(cache):\n    for key in cache:\n        cache.evict(key)\n",
        ),
        (
            "go/router.go",
            "package router\n\ntype Engine struct {\n\ttrees int\n}\n\nfunc (e *Engine) addRoute(path string) {\n\te.trees++\n}\n",
        ),
        ("README.md", "# A project\n\nIt has a session with retry, a cache and a router.\n"),
        ("vendor/retry/retry.rs", "pub fn retry() { /* retry the session */ }\n"),
    ])
}

/// A service on a port of its own.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub(crate) async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, settings, async {
            stopped.await.unwrap_or(());
        }));
        Self { address, stop, served }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}
