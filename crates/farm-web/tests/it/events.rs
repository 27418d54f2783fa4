//! The stream of events, as `EventSource` reads it.

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::Farm;

struct Stream {
    answer: Response,
    text: String,
}

#[derive(Debug)]
struct Event {
    id: u64,
    seqs: Vec<u64>,
    words: Vec<String>,
}

impl Stream {
    async fn open(farm: &Farm, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = farm.request(Method::GET, path);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next event; `None` if the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                if message.starts_with(':') {
                    continue;
                }
                return Some(event(&message));
            }
            self.text.push_str(std::str::from_utf8(&self.answer.chunk().await.unwrap()?).unwrap());
        }
    }

    /// Events until one has this entry.
    async fn until(&mut self, word: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.push(self.next().await.unwrap());
            if events.last().unwrap().words.iter().any(|found| found == word) {
                return events;
            }
        }
    }
}

fn event(message: &str) -> Event {
    let field = |name: &str| {
        let line = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {message:?}"))
    };
    assert_eq!(field("event"), "changed");
    let data: Value = serde_json::from_str(field("data")).unwrap();
    let entries = data["entries"].as_array().unwrap();
    Event {
        id: field("id").parse().unwrap(),
        seqs: entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect(),
        words: entries
            .iter()
            .map(|entry| {
                format!("{} {}", entry["event"].as_str().unwrap(), entry["subject"].as_str().unwrap())
            })
            .collect(),
    }
}

async fn head(farm: &Farm) -> u64 {
    farm.found("/api/v1/ledger/verify").await["entries"].as_u64().unwrap()
}

#[tokio::test]
async fn a_reader_is_told_what_happens_from_now_on() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", "g").await;
    let before = head(&farm).await;
    let mut stream = Stream::open(&farm, "/api/v1/events", None).await;
    farm.submit("t2", "g").await;
    let events = stream.until("task_accepted t2").await;
    let seqs: Vec<u64> = events.iter().flat_map(|event| event.seqs.clone()).collect();
    assert_eq!(seqs, (before + 1..=head(&farm).await).collect::<Vec<_>>(), "nothing twice, nothing lost");
    assert_eq!(events.last().unwrap().id, *seqs.last().unwrap());
}

#[tokio::test]
async fn a_reader_who_comes_back_misses_nothing() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", "g").await;
    let seen = head(&farm).await;
    for n in 2..8 {
        farm.submit(&format!("t{n}"), "g").await;
    }
    let expected: Vec<u64> = (seen + 1..=head(&farm).await).collect();
    let seen = seen.to_string();
    let by_address = format!("/api/v1/events?after={seen}");
    // The header is what a browser sends when it comes back; the address it came by is older.
    for (path, id) in [
        ("/api/v1/events", Some(seen.as_str())),
        (&by_address, None),
        ("/api/v1/events?after=1", Some(&seen)),
    ] {
        let mut stream = Stream::open(&farm, path, id).await;
        let events = stream.until("task_accepted t7").await;
        let seqs: Vec<u64> = events.into_iter().flat_map(|event| event.seqs).collect();
        assert_eq!(seqs, expected, "{path} {id:?}");
    }
}

#[tokio::test]
async fn a_number_of_another_store_begins_now() {
    let farm = Farm::with_repository().await;
    let mut stream = Stream::open(&farm, "/api/v1/events", Some("999999")).await;
    farm.submit("t1", "g").await;
    assert!(!stream.until("task_accepted t1").await.is_empty());
}

#[tokio::test]
async fn a_timeline_that_grows_is_told_without_an_entry_of_the_ledger() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", "g").await;
    let run = farm.begin("t1").await;
    let mut stream = Stream::open(&farm, "/api/v1/events", None).await;
    farm.report(&run, "a step").await;
    let told = stream.next().await.unwrap();
    assert_eq!((told.seqs.len(), told.id), (0, head(&farm).await));
}

#[tokio::test]
async fn many_commits_are_few_events() {
    let farm = Farm::with_repository().await;
    let mut stream = Stream::open(&farm, "/api/v1/events", None).await;
    let begun = Instant::now();
    for n in 0..40 {
        farm.submit(&format!("t{n}"), "g").await;
    }
    let events = stream.until("task_accepted t39").await;
    // The first at once, then at most one each 200 ms.
    let most = 2 + begun.elapsed().as_millis() / 200;
    assert!(events.len() as u128 <= most, "{} events in {:?}", events.len(), begun.elapsed());
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams() {
    let farm = Farm::with_repository().await;
    let mut stream = Stream::open(&farm, "/api/v1/events", None).await;
    let begun = Instant::now();
    farm.stopped().await.unwrap();
    assert!(stream.next().await.is_none());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
