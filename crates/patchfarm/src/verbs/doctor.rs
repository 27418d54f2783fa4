//! `doctor`: what this machine has, what is missing, and what to do about it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use farm_sandbox::{Sandbox, Settings as SandboxSettings, Toolchains};

use crate::failure::{Failure, Outcome, exit};
use crate::models::Models;
use crate::output::say;
use crate::program::Program;
use crate::roles::{kafka, topics};

/// The least version of git: what Debian 12 ships.
const GIT: (u32, u32) = (2, 39);
/// The least version of bubblewrap: what Debian 12 ships.
const BUBBLEWRAP: (u32, u32) = (0, 8);

struct Finding {
    good: bool,
    what: &'static str,
    detail: String,
}

/// Prints a line for each thing that was looked at; fails if one is missing.
pub(crate) async fn run(program: &Program) -> Outcome {
    let findings = [
        version(program, "git", &["--version"], GIT, "apt install git"),
        version(program, "bwrap", &["--version"], BUBBLEWRAP, "apt install bubblewrap"),
        sandbox(program).await,
        broker(program).await,
        model(program),
        control(program).await,
    ];
    for finding in &findings {
        say(&format!(
            "{} {:<9} {}",
            if finding.good { "ok     " } else { "MISSING" },
            finding.what,
            finding.detail
        ));
    }
    let n_missing = findings.iter().filter(|finding| !finding.good).count();
    if n_missing == 0 {
        return Ok(());
    }
    Err(Failure::new(
        exit::FAILURE,
        format!("{n_missing} of {} are missing; not every role needs all", findings.len()),
    ))
}

fn version(program: &Program, name: &'static str, args: &[&str], least: (u32, u32), remedy: &str) -> Finding {
    let mut command = std::process::Command::new(name);
    command.args(args).env_clear();
    command.envs(program.environment.get("PATH").map(|path| ("PATH", path)));
    let said = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let (good, detail) = match said {
        Ok(said) => match numbers(&said) {
            Some(found) if found >= least => (true, said),
            _ => (false, format!("expected at least {}.{}, found {said:?}", least.0, least.1)),
        },
        Err(error) => (false, format!("{error}; {remedy}")),
    };
    Finding { good, what: name, detail }
}

/// The first two numbers of `git version 2.39.5`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let word = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = word.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

async fn sandbox(program: &Program) -> Finding {
    let environment: BTreeMap<OsString, OsString> =
        program.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let what = "sandbox";
    let dir = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(error) => return Finding { good: false, what, detail: error.to_string() },
    };
    let mut settings = SandboxSettings::new(dir.path());
    settings.toolchains = Toolchains::discover(&environment).await;
    match Sandbox::probe(settings).await {
        Ok(sandbox) => {
            let trees = if sandbox.overlay() { "overlay" } else { "copied" };
            Finding { good: true, what, detail: format!("{}, {trees} trees", sandbox.tier()) }
        }
        Err(error) => Finding { good: false, what, detail: error.to_string() },
    }
}

async fn broker(program: &Program) -> Finding {
    let what = "kafka";
    let settings = match kafka(&program.settings) {
        Ok(settings) => settings,
        Err(error) => return Finding { good: false, what, detail: error.to_string() },
    };
    let topic = topics(&program.settings).coding_tasks;
    match farm_kafka::partitions(&settings, &topic).await {
        Ok(n) => Finding {
            good: true,
            what,
            detail: format!("{} has {topic} with {n} partitions", settings.bootstrap),
        },
        Err(error) => Finding { good: false, what, detail: format!("{}: {error}", settings.bootstrap) },
    }
}

fn model(program: &Program) -> Finding {
    let what = "model";
    let settings = &program.settings;
    let (good, detail) = match Models::find(program) {
        _ if settings.flag("model.mock") => (true, "mock: no model is asked".to_owned()),
        _ if settings.optional("model.replay").is_some() => (true, "replies come from a file".to_owned()),
        Err(error) => (false, error.to_string()),
        Ok(None) => (false, "set CODING_MODEL, or MOCK_LLM=1 to go without".to_owned()),
        Ok(Some(models)) => (true, models.describe()),
    };
    Finding { good, what, detail }
}

async fn control(program: &Program) -> Finding {
    let url = program.settings.text("url");
    let asked = async {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(3)).no_proxy().build()?;
        http.get(format!("{url}/api/v1/status")).send().await
    };
    match asked.await {
        Ok(response) => {
            Finding { good: true, what: "control", detail: format!("{url} answers {}", response.status()) }
        }
        Err(_) => Finding {
            good: false,
            what: "control",
            detail: format!("nobody answers at {url}; set PATCHFARM_URL"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(numbers("git version 2.39.5"), Some((2, 39)));
        assert_eq!(numbers("bubblewrap 0.8.0"), Some((0, 8)));
        assert_eq!(numbers("nonsense"), None);
    }
}
