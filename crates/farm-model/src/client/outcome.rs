//! What one request came to.

use farm_core::port::{ModelCall, ModelError};
use serde_json::Value;

use super::bytes_of;
use super::desk::Desk;
use super::words::Words;
use crate::retry::{self, Verdict};
use crate::transport::{Answer, Fault};
use crate::wire::{Complaint, Manners, Reading, Tokens};

/// What to do after a request.
pub(super) enum Outcome {
    /// Be glad.
    Replied(Reading),
    /// Ask for less: the server does not know what was asked for.
    StepDown(Manners),
    /// Ask again.
    Later { reason: &'static str, detail: String, retry_after: Option<String> },
    /// Give up.
    Failed(ModelError),
}

/// An outcome, what it took, and its error as metrics name it: empty for a good answer.
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) tokens: Tokens,
    pub(super) error: &'static str,
}

impl Judged {
    fn new(outcome: Outcome, tokens: Tokens, error: &'static str) -> Self {
        Self { outcome, tokens, error }
    }

    /// Judges a whole answer.
    pub(super) fn answer(
        answer: &Answer,
        desk: &Desk,
        call: &ModelCall,
        manners: Manners,
        words: &Words,
    ) -> Self {
        let status = answer.status;
        if (200..300).contains(&status) {
            return Self::good_answer(answer, desk, call, words);
        }
        let complaint = Complaint::read(&answer.body);
        if matches!(status, 400 | 422)
            && let Some(less) = manners.without_what_is_refused(&complaint, &call.form)
        {
            return Self::new(Outcome::StepDown(less), Tokens::default(), "stepped_down");
        }
        let shown = words.shown(&complaint.message);
        let (outcome, error) = match retry::verdict(status, &complaint) {
            Verdict::Later => {
                let detail = format!("status {status}: {shown}");
                let reason = if status == 429 { "rate_limited" } else { "server_error" };
                (Outcome::Later { reason, detail, retry_after: answer.retry_after.clone() }, reason)
            }
            Verdict::Never => {
                let detail = match status {
                    300..400 => "it redirects, which is not followed; set base-url to where it is".to_owned(),
                    _ => shown,
                };
                (Outcome::Failed(ModelError::Refused { status, detail }), "refused")
            }
        };
        Self::new(outcome, Tokens::default(), error)
    }

    fn good_answer(answer: &Answer, desk: &Desk, call: &ModelCall, words: &Words) -> Self {
        let read = serde_json::from_slice::<Value>(&answer.body).map_err(|error| {
            let start = String::from_utf8_lossy(&answer.body);
            format!("expected json, found {:?} ({error}): {start}", answer.content_type)
        });
        match read.and_then(|value| desk.api.read(&value)) {
            Err(detail) => {
                let error = ModelError::Unreadable { detail: words.shown(&detail) };
                let tokens = Tokens::guess(bytes_of(call), answer.body.len());
                Self::new(Outcome::Failed(error), tokens, "unreadable")
            }
            Ok(reading) => {
                let tokens =
                    reading.tokens.unwrap_or_else(|| Tokens::guess(bytes_of(call), reading.text.len()));
                match &reading.refused {
                    None => Self::new(Outcome::Replied(reading), tokens, ""),
                    Some(why) => {
                        let error = ModelError::Refused { status: 0, detail: words.shown(why) };
                        Self::new(Outcome::Failed(error), tokens, "refused")
                    }
                }
            }
        }
    }

    /// Judges an answer that never came, or not whole; `lost` is what it may have taken all the same.
    pub(super) fn fault(fault: &Fault, lost: Tokens, words: &Words) -> Self {
        let detail = words.shown(&fault.to_string());
        let reason = match fault {
            Fault::Connect(_) => "connect",
            Fault::Timeout { .. } => "timeout",
            Fault::Cut(_) => "cut",
            Fault::TooLarge { .. } => {
                return Self::new(Outcome::Failed(ModelError::Unreadable { detail }), lost, "unreadable");
            }
        };
        Self::new(Outcome::Later { reason, detail, retry_after: None }, lost, reason)
    }
}
