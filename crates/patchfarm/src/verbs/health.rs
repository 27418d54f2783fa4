//! `health`: for containers, whose images hold nothing else that could ask.

use std::time::Duration;

use crate::failure::{Failure, Outcome, exit};
use crate::output::say;
use crate::program::Program;

/// Asks a role whether it is ready.
pub(crate) async fn run(program: &Program, address: Option<String>) -> Outcome {
    let address =
        address.unwrap_or_else(|| program.settings.text("metrics.listen").replace("0.0.0.0", "127.0.0.1"));
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    let response = http.get(format!("http://{address}/readyz")).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    if status.is_success() {
        say(text.trim());
        return Ok(());
    }
    Err(Failure::new(exit::FAILURE, format!("not ready: {}", text.trim())))
}
