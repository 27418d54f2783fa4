//! Which models are asked for what, and with which keys, as the settings say.

use std::collections::BTreeMap;

use farm_core::redact::{Redactor, Secret};
use farm_model::settings::{Api, KeyFrom, Provider, Role, Roles};
use farm_model::{Client, Keys, Metrics, Settings as Document};

use crate::failure::Outcome;
use crate::program::Program;
use crate::settings::{Settings, SettingsError};

/// The one provider of settings that need no document.
const PROVIDER: &str = "model";

/// Providers, roles and keys.
pub(crate) struct Models {
    document: Document,
    keys: Keys,
}

impl Models {
    /// A mock, a file of replies, a document, or one model for every role; `None` if the settings name none of them.
    pub(crate) fn find(program: &Program) -> Result<Option<Self>, SettingsError> {
        let settings = &program.settings;
        let keyless = |document| Some(Self { document, keys: Keys::new() });
        if settings.flag("model.mock") {
            return Ok(keyless(Document::mock()));
        }
        if let Some(file) = settings.optional("model.replay") {
            return Ok(keyless(Document::replay(file)));
        }
        if let Some(file) = settings.optional("model.file") {
            let read = read(file, &program.environment);
            return read.map(Some).map_err(|detail| settings.invalid("model.file", detail));
        }
        settings.optional("model.name").map(|name| single(settings, name)).transpose()
    }

    /// The keys, which nobody may see.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Secret> {
        self.keys.values().cloned()
    }

    /// A client that counts its calls in `registry`.
    pub(crate) fn client(&self, redactor: Redactor, registry: &prometheus::Registry) -> Outcome<Client> {
        let client = Client::new(&self.document, &self.keys, redactor)?;
        Ok(client.with_metrics(Metrics::new(registry)?))
    }

    /// Each role's model, for people.
    pub(crate) fn describe(&self) -> String {
        let role = |name| {
            let role = self.document.roles.of(name)?;
            let key = if self.keys.contains_key(&role.provider) { "with a key" } else { "without a key" };
            Some(format!("{name}: {} by {}, {key}", role.model, role.provider))
        };
        Roles::NAMES.into_iter().filter_map(role).collect::<Vec<_>>().join("; ")
    }
}

fn single(settings: &Settings, name: &str) -> Result<Models, SettingsError> {
    let api = match settings.text("model.api") {
        "openai" => Api::OpenAi,
        "anthropic" => Api::Anthropic,
        _ => return Err(settings.invalid("model.api", "expected openai or anthropic")),
    };
    let mut provider = Provider::new(api);
    provider.base_url = settings.optional("model.base-url").map(str::to_owned);
    let mut role = Role::new(PROVIDER, name);
    role.temperature = settings.get("model.temperature")?;
    role.max_output_tokens = settings.get("model.output-tokens")?;
    role.prices.input = settings.get("model.input-micro-usd")?;
    role.prices.output = settings.get("model.output-micro-usd")?;
    let document = Document { roles: Roles::all(role), ..Document::single(PROVIDER, provider, name) };
    let key = match (settings.optional("model.key"), settings.optional("model.key-file")) {
        (Some(key), _) => Some(key.to_owned()),
        (None, Some(file)) => Some(
            std::fs::read_to_string(file)
                .map_err(|error| settings.invalid("model.key-file", error.to_string()))?,
        ),
        (None, None) => None,
    };
    let keys = key.map(|key| (PROVIDER.to_owned(), Secret::new(key.trim()))).into_iter().collect();
    Ok(Models { document, keys })
}

/// Reads a document of providers and roles, and the keys from where it says that they are.
fn read(file: &str, environment: &BTreeMap<String, String>) -> Result<Models, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let document: Document = toml::from_str(&text).map_err(|error| error.to_string())?;
    let mut keys = Keys::new();
    for (name, provider) in &document.providers {
        let key = match &provider.api_key {
            None => continue,
            Some(KeyFrom::Env(variable)) => environment
                .get(variable)
                .cloned()
                .ok_or_else(|| format!("provider {name}: the environment has no {variable}"))?,
            Some(KeyFrom::File(file)) => std::fs::read_to_string(file)
                .map_err(|error| format!("provider {name}: {}: {error}", file.display()))?,
        };
        keys.insert(name.clone(), Secret::new(key.trim()));
    }
    Ok(Models { document, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"
        [providers.cheap]
        api = "openai"
        base-url = "http://127.0.0.1:8000/v1"
        [providers.good]
        api = "anthropic"
        api-key = { env = "GOOD_KEY" }
        [roles.coder]
        provider = "cheap"
        model = "small"
        temperature = 0.0
        [roles.planner]
        provider = "good"
        model = "large"
        context-tokens = 100000
    "#;

    #[test]
    fn a_document_gives_each_role_its_model_and_finds_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("models.toml");
        std::fs::write(&file, DOCUMENT).unwrap();
        let file = file.to_str().unwrap();

        let environment = BTreeMap::from([("GOOD_KEY".to_owned(), "sk-good\n".to_owned())]);
        let models = read(file, &environment).unwrap();
        assert_eq!(
            models.describe(),
            "coder: small by cheap, without a key; planner: large by good, with a key; reviewer: small by cheap, without a key"
        );
        assert_eq!(models.secrets().map(|key| key.reveal().to_owned()).collect::<Vec<_>>(), ["sk-good"]);

        let error = read(file, &BTreeMap::new()).err().unwrap();
        assert_eq!(error, "provider good: the environment has no GOOD_KEY");
    }
}
