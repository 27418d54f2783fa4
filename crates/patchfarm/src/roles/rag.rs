//! `patchfarm rag`: the context service. It holds no credentials.

use farm_web::health::Health;

use crate::failure::{Failure, Outcome, exit};
use crate::program::Program;
use crate::roles::{bind, registry, serve_health};

/// Runs until told to stop.
pub(crate) async fn run(program: Program) -> Outcome {
    let health = Health::default();
    let metrics = serve_health(&program, registry("rag")?, health.clone()).await?;
    let (listener, address) = bind(&program.settings, "rag.listen").await?;
    let settings = farm_rag::server::Settings {
        memory_bytes: program.settings.get("rag.cache-bytes")?,
        ..farm_rag::server::Settings::default()
    };
    health.set_ready(true, "");
    tracing::info!(grpc = %address, %metrics, "rag is ready");
    farm_rag::server::serve(listener, settings, program.stop.clone().cancelled_owned())
        .await
        .map_err(|error| Failure::new(exit::FAILURE, error.to_string()))
}
