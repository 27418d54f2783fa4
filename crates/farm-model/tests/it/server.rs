//! A server that says what it is told to, byte by byte: half an answer, too much of one, or none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Say {
    /// These bytes at once, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes in eight pieces, this far apart.
    Slowly(Vec<u8>, Duration),
    /// Nothing, and no end.
    Nothing,
}

impl Say {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::with(status, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head =
            format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self::Bytes([head.as_bytes(), b"\r\n", body].concat())
    }

    /// A good answer in chat completions.
    pub(crate) fn reply(text: &str) -> Self {
        Self::json(
            200,
            &json!({
                "model": "model-2026",
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 60}},
            }),
        )
    }

    /// The same answer without its last `n_missing` bytes.
    pub(crate) fn cut(self, n_missing: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes[..bytes.len() - n_missing].to_vec()),
            other => other,
        }
    }

    pub(crate) fn slowly(self, gap: Duration) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Slowly(bytes, gap),
            other => other,
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// A server on loopback that answers the nth request with the nth entry of its script, and 418 beyond it.
pub(crate) struct Server {
    pub(crate) base_url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    n_open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Server {
    pub(crate) async fn start(script: Vec<Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), Arc::clone(&serving)));
            }
        });
        Self { base_url, shared }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The most requests that were under way at once.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, script: Vec<Say>, shared: Arc<Shared>) {
    let Some(asked) = read(&mut stream).await else { return };
    let n_open = shared.n_open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_open.fetch_max(n_open, Ordering::SeqCst);
    let say = {
        let mut all = shared.asked.lock().unwrap();
        all.push(asked);
        script.get(all.len() - 1).cloned().unwrap_or_else(|| Say::with(418, &[], b"the script is over"))
    };
    // The client may hang up first; that is its right, and no fault of the test.
    match say {
        Say::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Say::Slowly(bytes, gap) => {
            for piece in bytes.chunks(bytes.len().div_ceil(8)) {
                tokio::time::sleep(gap).await;
                if stream.write_all(piece).await.is_err() {
                    break;
                }
            }
        }
        Say::Nothing => std::future::pending().await,
    }
    shared.n_open.fetch_sub(1, Ordering::SeqCst);
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let len: usize = headers.get("content-length")?.parse().unwrap();
    while bytes.len() < head_len + len {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&bytes[head_len..]).unwrap();
    Some(Asked { path, headers, body })
}
