//! Keeps registered secrets out of prompts, logs, results and reports (I5).

/// What stands where a secret stood.
pub const MARK: &str = "[redacted]";

/// Secrets shorter than this are not looked for: `1234` would blank half of every log.
const MIN_SECRET_LEN: usize = 6;

/// A text that must not be shown; its `Debug` form does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MARK)
    }
}

/// Replaces registered secrets, plain and in base64, in any text.
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Vec<String>,
}

impl Redactor {
    /// Knows these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut needles: Vec<String> = Vec::new();
        for Secret(secret) in secrets {
            let secret = secret.trim();
            if secret.len() >= MIN_SECRET_LEN {
                needles.push(secret.to_owned());
                needles.extend(base64_cores(secret.as_bytes()));
            }
        }
        // Longest first, so that a secret that contains another goes as a whole.
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        Self { needles }
    }

    /// `text` without the secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for needle in &self.needles {
            if text.contains(needle) {
                text = text.replace(needle, MARK);
            }
        }
        text
    }

    /// Whether a secret stands in `bytes`.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        self.needles.iter().any(|needle| text.contains(needle))
    }
}

/// The characters of base64 that stand for `bytes` whatever stands around it, one text for each alignment.
fn base64_cores(bytes: &[u8]) -> Vec<String> {
    (0..3)
        .map(|shift| {
            let padded: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
            let encoded = base64(&padded);
            // The first characters mix with what stands before, the last with what stands behind.
            let start = (shift * 8).div_ceil(6);
            let end = padded.len() * 8 / 6;
            encoded.get(start..end).unwrap_or_default().to_owned()
        })
        .filter(|core| core.len() >= MIN_SECRET_LEN)
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let secrets = [Secret::new("hunter22"), Secret::new("hunter22-longer"), Secret::new("abc")];
        let redactor = Redactor::new(&secrets);
        assert_eq!(redactor.clean("a hunter22 b hunter22-longer c abc"), "a [redacted] b [redacted] c abc");
        assert!(redactor.finds(b"\xffhunter22"));
        assert!(!redactor.finds(b"hunter"));
        assert_eq!(format!("{:?}", secrets[0]), MARK);
    }

    #[test]
    fn base64_forms_go_in_every_alignment() {
        let redactor = Redactor::new(&[Secret::new("correct-horse-battery")]);
        for prefix in ["", "u", "us", "user:"] {
            let encoded = base64(format!("{prefix}correct-horse-battery!").as_bytes());
            let cleaned = redactor.clean(&format!("Authorization: Basic {encoded}"));
            assert!(cleaned.contains(MARK), "{prefix}: {cleaned}");
        }
    }

    #[test]
    fn base64_is_the_usual_one() {
        assert_eq!(base64(b"Man"), "TWFu");
        assert_eq!(base64(b"Ma"), "TWE");
    }
}
