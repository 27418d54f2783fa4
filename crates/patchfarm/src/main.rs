//! `patchfarm`: the one binary. Settings, wiring, shutdown; no logic.

mod cli;
mod client;
mod failure;
mod models;
mod output;
mod program;
mod roles;
mod settings;
mod telemetry;
mod verbs;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Verb};
use crate::failure::{Failure, Outcome, exit};
use crate::program::Program;
use crate::settings::Settings;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                output::tell(&format!("patchfarm: {}", output::plain(&message)));
            }
            ExitCode::from(exit)
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let file = cli.config.as_deref().unwrap_or(Path::new("patchfarm.toml"));
    let settings = Settings::load(file, cli.config.is_some(), &environment, &cli.set)?;
    let program = Program { settings, environment, stop: CancellationToken::new() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(exit::FAILURE, format!("no threads: {error}")))?;
    let outcome = runtime.block_on(play(program, cli.verb));
    // What still blocks (a read of standard input) must not hold the end up.
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn play(program: Program, verb: Verb) -> Outcome {
    let is_role =
        matches!(verb, Verb::Up { .. } | Verb::Demo { .. } | Verb::Control | Verb::Worker { .. } | Verb::Rag);
    if is_role {
        let mut program = program.clone();
        if matches!(verb, Verb::Demo { .. }) && !program.settings.is_set("log.filter") {
            program.settings.decide("log.filter", "error");
        }
        telemetry::start(&program.settings)?;
        program::stop_on_signals(program.stop.clone())?;
    }
    match verb {
        Verb::Up { workers } => roles::up::run(program, workers).await,
        Verb::Demo { keep } => roles::demo::run(program, keep).await,
        Verb::Control => roles::control::run(program).await,
        Verb::Worker { once, idle } => {
            roles::worker::run(program, once.then(|| Duration::from_secs(idle))).await
        }
        Verb::Rag => roles::rag::run(program).await,
        Verb::Submit(submit) => verbs::submit::run(&program, submit).await,
        Verb::Change(verb) => verbs::change::run(&program, verb).await,
        Verb::Task(verb) => verbs::task::run(&program, verb).await,
        Verb::Repo(verb) => verbs::repo::run(&program, verb).await,
        Verb::Dlq(verb) => verbs::dlq::run(&program, verb).await,
        Verb::Patch(cli::PatchVerb::Apply(apply)) => verbs::patch::run(&apply),
        Verb::Context(cli::ContextVerb::Search(search)) => verbs::context::run(&search),
        Verb::Topics(cli::TopicsVerb::Apply(output)) => verbs::topics::apply(&program, &output).await,
        Verb::Ledger(cli::LedgerVerb::Verify) => verbs::ledger::verify(&program).await,
        Verb::Config(cli::ConfigVerb::Show(output)) => verbs::config::show(&program, &output),
        Verb::Health { address } => verbs::health::run(&program, address).await,
        Verb::Doctor => verbs::doctor::run(&program).await,
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "patchfarm", &mut std::io::stdout());
            Ok(())
        }
    }
}
