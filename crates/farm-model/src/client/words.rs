//! What may be said: prompts and errors without secrets (I5).

use farm_core::redact::Redactor;

use crate::settings::Keys;

/// Characters of a service's own words that an error repeats.
const MAX_SHOWN_CHARS: usize = 500;

/// Takes secrets out of texts.
pub(super) struct Words {
    farm: Redactor,
    keys: Redactor,
}

impl Words {
    pub(super) fn new(farm: Redactor, keys: &Keys) -> Self {
        Self { farm, keys: Redactor::new(keys.values()) }
    }

    /// `text` without registered secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        self.keys.clean(&self.farm.clean(text))
    }

    /// Foreign words as an error may repeat them. Cleaned before they are cut: half a secret would not be found.
    pub(super) fn shown(&self, text: &str) -> String {
        let clean = self.clean(text);
        let line = clean.chars().map(|c| if c.is_control() { ' ' } else { c });
        line.take(MAX_SHOWN_CHARS).collect::<String>().trim().to_owned()
    }
}
