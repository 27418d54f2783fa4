//! The two protocols: a question as the body of a request, an answer as text and tokens.

pub(crate) mod anthropic;
pub(crate) mod openai;

use farm_core::port::ReplyForm;
use farm_core::result::Usage;
use serde_json::Value;

use crate::settings::{Api, OutputLimit, Prices, Structured};

/// A question to a model, as both protocols need it.
pub(crate) struct Question<'a> {
    pub(crate) model: &'a str,
    pub(crate) temperature: f64,
    pub(crate) max_output_tokens: u64,
    pub(crate) system: &'a str,
    pub(crate) user: &'a str,
    pub(crate) form: &'a ReplyForm,
}

/// What may be said to a model; less than wanted where its server has refused some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manners {
    pub(crate) structured: Structured,
    pub(crate) temperature: bool,
    pub(crate) limit: OutputLimit,
}

/// Tokens that one exchange took. The parts of the prompt do not overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) fresh: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) output: u64,
}

/// More tokens than any call can take: what a server counts is cut to it, so that sums of them stay numbers.
const MAX_COUNT: u64 = 1 << 32;

/// A server's count; `None` if it is not there.
fn count(counts: &Value, name: &str) -> Option<u64> {
    counts[name].as_u64().map(|count| count.min(MAX_COUNT))
}

/// What a server's good answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) text: String,
    pub(crate) model: Option<String>,
    /// `None` if the server does not count.
    pub(crate) tokens: Option<Tokens>,
    pub(crate) truncated: bool,
    /// The model's or its guard's own words, if it does not want to answer.
    pub(crate) refused: Option<String>,
}

/// What a server's bad answer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    /// `type`, `code` and `param`, lower-case, joined by spaces.
    pub(crate) codes: String,
}

impl Api {
    /// The body of the request that asks `question`.
    pub(crate) fn body(self, question: &Question<'_>, manners: Manners) -> Value {
        match self {
            Self::OpenAi => openai::body(question, manners),
            Self::Anthropic => anthropic::body(question, manners),
        }
    }

    /// Reads a good answer; the error says what was expected and found.
    pub(crate) fn read(self, answer: &Value) -> Result<Reading, String> {
        match self {
            Self::OpenAi => openai::read(answer),
            Self::Anthropic => anthropic::read(answer),
        }
    }
}

impl Manners {
    /// What to try next after the server refused a request of these manners, if it was them that it refused.
    pub(crate) fn without_what_is_refused(self, complaint: &Complaint, form: &ReplyForm) -> Option<Self> {
        const FORM_WORDS: [&str; 8] = [
            "response_format",
            "json_schema",
            "json_object",
            "schema",
            "grammar",
            "structured",
            "tool_choice",
            "tools",
        ];
        let said = format!("{} {}", complaint.message, complaint.codes).to_lowercase();
        if self.temperature && said.contains("temperature") {
            return Some(Self { temperature: false, ..self });
        }
        if self.limit == OutputLimit::MaxTokens && said.contains("max_completion_tokens") {
            return Some(Self { limit: OutputLimit::MaxCompletionTokens, ..self });
        }
        if *form == ReplyForm::Text || !FORM_WORDS.iter().any(|word| said.contains(word)) {
            return None;
        }
        match self.structured {
            Structured::JsonSchema => Some(Self { structured: Structured::JsonObject, ..self }),
            Structured::JsonObject => Some(Self { structured: Structured::Plain, ..self }),
            Structured::Plain => None,
        }
    }

    /// What is left when both refusals hold.
    pub(crate) fn and(self, other: Self) -> Self {
        let limit = match (self.limit, other.limit) {
            (OutputLimit::MaxTokens, OutputLimit::MaxTokens) => OutputLimit::MaxTokens,
            _ => OutputLimit::MaxCompletionTokens,
        };
        Self {
            structured: self.structured.min(other.structured),
            temperature: self.temperature && other.temperature,
            limit,
        }
    }
}

impl Tokens {
    /// A guess from sizes, for servers that do not count: four bytes a token.
    pub(crate) fn guess(prompt_bytes: usize, reply_bytes: usize) -> Self {
        let tokens = |bytes: usize| bytes.div_ceil(4) as u64;
        Self { fresh: tokens(prompt_bytes), output: tokens(reply_bytes), ..Self::default() }
    }

    /// The tokens of one call and what they cost, rounded up.
    pub(crate) fn usage(&self, prices: &Prices) -> Usage {
        let cache_write_price =
            prices.cache_write.unwrap_or_else(|| prices.input.saturating_add(prices.input.div_ceil(4)));
        let parts = [
            (self.fresh, prices.input),
            (self.cache_read, prices.cached_input.unwrap_or(prices.input)),
            (self.cache_write, cache_write_price),
            (self.output, prices.output),
        ];
        let cost = parts
            .iter()
            .map(|(tokens, price)| u128::from(*tokens) * u128::from(*price))
            .fold(0, u128::saturating_add);
        Usage {
            calls: 0,
            prompt_tokens: self.fresh.saturating_add(self.cache_read).saturating_add(self.cache_write),
            cached_tokens: self.cache_read,
            completion_tokens: self.output,
            cost_micro_usd: u64::try_from(cost.div_ceil(1_000_000)).unwrap_or(u64::MAX),
        }
    }
}

impl Complaint {
    /// Reads the body of a bad answer: every server's own shape, or plain text.
    pub(crate) fn read(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Self { message: String::from_utf8_lossy(body).into_owned(), codes: String::new() };
        };
        // OpenAI and Anthropic nest, older vLLM does not, Ollama says {"error": "text"}, FastAPI {"detail": …}.
        let error = if value["error"].is_object() { &value["error"] } else { &value };
        let words = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let message = [&error["message"], &value["error"], &value["detail"], &value["message"]]
            .into_iter()
            .find_map(words)
            .unwrap_or_else(|| value.to_string());
        let codes: Vec<String> =
            [&error["type"], &error["code"], &error["param"]].into_iter().filter_map(words).collect();
        Self { message, codes: codes.join(" ").to_lowercase() }
    }

    /// Whether money or quota is used up, which no retry brings back. Only codes count: some services write "quota" into the
    /// message of every rate limit.
    pub(crate) fn is_spent(&self) -> bool {
        ["insufficient_quota", "quota_exceeded", "billing", "spend", "credit", "budget"]
            .iter()
            .any(|word| self.codes.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// JSON of the fields that the readers look for, in places where they may not expect them.
    fn any_answer() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u64>().prop_map(Value::from),
            "(stop|length|refusal|tool_use|text|<think>|</think>|é){0,2}".prop_map(Value::from),
        ];
        let field = "(choices|message|content|finish_reason|usage|prompt_tokens|completion_tokens|input_tokens|text|type|input|error)";
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(field, inner, 0..5).prop_map(|fields| json!(fields)),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in any_answer(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for api in [Api::OpenAi, Api::Anthropic] {
                if let Ok(Reading { tokens: Some(tokens), .. }) = api.read(&answer) {
                    tokens.usage(&Prices { input: u64::MAX, ..Prices::default() });
                }
            }
            Complaint::read(&bytes);
            Complaint::read(answer.to_string().as_bytes());
        }
    }

    #[test]
    fn complaints_are_read_in_every_shape() {
        for (body, message, codes) in [
            (r#"{"error":{"message":"m","type":"T","param":"p","code":"c"}}"#, "m", "t c p"),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
                "m",
                "overloaded_error",
            ),
            (
                r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#,
                "m",
                "badrequesterror 400",
            ),
            (r#"{"error":"model not found"}"#, "model not found", ""),
            (r#"{"detail":[{"loc":["body"]}]}"#, r#"[{"loc":["body"]}]"#, ""),
            ("upstream down", "upstream down", ""),
            ("[]", "[]", ""),
        ] {
            let complaint = Complaint::read(body.as_bytes());
            assert_eq!((complaint.message.as_str(), complaint.codes.as_str()), (message, codes), "{body}");
        }
    }

    #[test]
    fn cost_counts_each_kind_at_its_price_and_rounds_up() {
        let tokens = Tokens { fresh: 1_000, cache_read: 2_000, cache_write: 400, output: 100 };
        let prices =
            Prices { input: 1_000_000, cached_input: Some(100_000), cache_write: None, output: 5_000_001 };
        // 1000 + 200 + 500 + 500.0001
        let usage = tokens.usage(&prices);
        assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens), (3_400, 2_000, 100));
        assert_eq!(usage.cost_micro_usd, 2_201);
        assert_eq!(tokens.usage(&Prices::default()).cost_micro_usd, 0);
        let most = Tokens { fresh: u64::MAX, cache_read: 1, cache_write: u64::MAX, output: u64::MAX };
        assert_eq!(most.usage(&Prices { input: u64::MAX, ..prices }).cost_micro_usd, u64::MAX);
    }
}
