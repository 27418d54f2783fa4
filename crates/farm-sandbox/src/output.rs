//! Keeps the head and the tail of a stream in bounded memory.

use std::collections::VecDeque;

use crate::command::Captured;

/// Collects a stream, of which at most `kept` bytes stay.
#[derive(Debug)]
pub(crate) struct Recorder {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_room: usize,
    tail_room: usize,
    dropped: u64,
}

impl Recorder {
    pub(crate) fn new(kept: usize) -> Recorder {
        let tail_room = kept / 2;
        Recorder {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_room: kept - tail_room,
            tail_room,
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.head_room - self.head.len()));
        self.head.extend_from_slice(first);

        let kept = &rest[rest.len().saturating_sub(self.tail_room)..];
        let overflow = (self.tail.len() + kept.len()).saturating_sub(self.tail_room);
        self.tail.drain(..overflow);
        self.tail.extend(kept);
        self.dropped += (rest.len() - kept.len() + overflow) as u64;
    }

    pub(crate) fn finish(self) -> Captured {
        Captured { head: self.head, tail: self.tail.into(), dropped_bytes: self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kept: usize, chunks: &[&str]) -> (String, String, u64) {
        let mut recorder = Recorder::new(kept);
        for chunk in chunks {
            recorder.push(chunk.as_bytes());
        }
        let captured = recorder.finish();
        (
            String::from_utf8(captured.head).unwrap(),
            String::from_utf8(captured.tail).unwrap(),
            captured.dropped_bytes,
        )
    }

    #[test]
    fn keeps_head_and_tail_whatever_the_chunks() {
        let all = "abcdefghijklmnop";
        for size in 1..=all.len() {
            let chunks: Vec<&str> =
                all.as_bytes().chunks(size).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
            assert_eq!(record(6, &chunks), ("abc".into(), "nop".into(), 10), "chunks of {size}");
            assert_eq!(record(16, &chunks), ("abcdefgh".into(), "ijklmnop".into(), 0), "chunks of {size}");
            assert_eq!(record(15, &chunks), ("abcdefgh".into(), "jklmnop".into(), 1), "chunks of {size}");
        }
        assert_eq!(record(0, &["abc"]), (String::new(), String::new(), 3));
    }

    #[test]
    fn says_what_is_missing() {
        let mut recorder = Recorder::new(4);
        recorder.push(b"0123456789");
        let captured = recorder.finish();
        assert_eq!(captured.whole(), None);
        assert_eq!(captured.text(), "01\n[… 6 bytes dropped …]\n89");
    }
}
