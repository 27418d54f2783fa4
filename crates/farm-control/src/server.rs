//! The gRPC server of control: TaskService and SymbolReservationManager on one port, with health and reflection.

mod leases;
mod tasks;

use std::sync::Arc;

use farm_core::redact::Secret;
use farm_store::StoreError;
use farm_wire::BadField;
use farm_wire::v1;
use farm_wire::v1::symbol_reservation_manager_server::SymbolReservationManagerServer;
use farm_wire::v1::task_service_server::TaskServiceServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::control::{Control, ControlError};

/// A result may carry the output of many checks.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// The server could not be started or ended by an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Of the transport.
    #[error("the gRPC server ended: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Of the reflection service's descriptors.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until told to stop; calls under way are answered.
pub async fn serve(
    control: Arc<Control>,
    listener: TcpListener,
    token: Option<Secret>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<TaskServiceServer<tasks::Tasks>>().await;
    health.set_serving::<SymbolReservationManagerServer<leases::Leases>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .build_v1()?;
    let authorize = Authorize(token.map(|token| format!("Bearer {}", token.reveal())));
    let tasks = TaskServiceServer::new(tasks::Tasks(Arc::clone(&control)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let leases = SymbolReservationManagerServer::new(leases::Leases(control));
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(20)))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(InterceptedService::new(tasks, authorize.clone()))
        .add_service(InterceptedService::new(leases, authorize))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await?;
    Ok(())
}

/// Lets nobody in who does not know the token, if there is one.
#[derive(Clone)]
struct Authorize(Option<String>);

impl tonic::service::Interceptor for Authorize {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = &self.0 else { return Ok(request) };
        let given = request.metadata().get("authorization").map(|value| value.as_bytes());
        if given.is_some_and(|given| same(given, expected.as_bytes())) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("expected the bearer token of PATCHFARM_TOKEN"))
        }
    }
}

/// Compares without telling by its time how much was right.
fn same(given: &[u8], expected: &[u8]) -> bool {
    given.len() == expected.len()
        && given.iter().zip(expected).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn bad(error: BadField) -> Status {
    Status::invalid_argument(error.to_string())
}

fn failed(error: impl Into<ControlError>) -> Status {
    let error = error.into();
    match &error {
        ControlError::Store(StoreError::Unknown { .. }) | ControlError::UnknownRepository { .. } => {
            Status::not_found(error.to_string())
        }
        ControlError::Refused { .. } => Status::invalid_argument(error.to_string()),
        ControlError::Store(_) | ControlError::Git(_) | ControlError::Credential(_) => {
            tracing::error!(%error, "a call could not be served");
            Status::unavailable(error.to_string())
        }
    }
}
