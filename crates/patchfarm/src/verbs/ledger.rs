//! `ledger verify`: 0 whole, 1 tampered.

use crate::client::Client;
use crate::failure::{Failure, Outcome, exit};
use crate::output::say;
use crate::program::Program;

/// Has control check the whole chain.
pub(crate) async fn verify(program: &Program) -> Outcome {
    let verdict = Client::new(program)?.get("/ledger/verify").await?;
    if verdict["whole"] == true {
        say(&format!(
            "whole: {} entries, head {}",
            verdict["entries"],
            verdict["head"].as_str().unwrap_or_default()
        ));
        return Ok(());
    }
    Err(Failure::new(exit::FAILURE, format!("tampered: {}", verdict["broken"].as_str().unwrap_or_default())))
}
