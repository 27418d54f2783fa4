//! SymbolReservationManager: leases on whole files, for producers that reserve before they ask.

use std::sync::Arc;

use farm_core::id::{Oid, RepoName, TaskId};
use farm_store::{HeldLease, Reserved};
use farm_wire::v1::symbol_reservation_manager_server::SymbolReservationManager;
use farm_wire::{service, v1};
use tonic::{Request, Response, Status};

use super::failed;
use crate::control::Control;

pub(super) struct Leases(pub(super) Arc<Control>);

fn id<T: std::str::FromStr>(text: &str) -> Result<T, Status>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Status::invalid_argument(error.to_string()))
}

fn wire(held: &HeldLease) -> v1::Lease {
    service::lease(held.id.clone(), &held.lease)
}

#[tonic::async_trait]
impl SymbolReservationManager for Leases {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let request = request.into_inner();
        let repository: RepoName = id(&request.repository)?;
        let task: TaskId = id(&request.task_id)?;
        let reserved = self
            .0
            .store
            .reserve(&request.request_id, &repository, request.paths, &task, self.0.now_ms())
            .await
            .map_err(failed)?;
        let (outcome, response) = match reserved {
            Reserved::Given(leases) => {
                let leases = leases.iter().map(wire).collect();
                ("given", v1::ReserveResponse { leases, conflict: None })
            }
            Reserved::Conflict(held) => {
                ("conflict", v1::ReserveResponse { leases: Vec::new(), conflict: Some(wire(&held)) })
            }
        };
        self.0.metrics.lease_requests.with_label_values(&[outcome]).inc();
        Ok(Response::new(response))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let ids = request.into_inner().lease_ids;
        let renewed = self.0.store.renew(ids, self.0.now_ms()).await.map_err(failed)?;
        let leases = renewed.leases.iter().map(wire).collect();
        Ok(Response::new(v1::RenewResponse { leases, lost: renewed.lost }))
    }

    async fn claim(&self, request: Request<v1::ClaimRequest>) -> Result<Response<v1::ClaimResponse>, Status> {
        let request = request.into_inner();
        let commit: Oid = id(&request.commit_sha)?;
        let claimed =
            self.0.store.claim(&request.lease_id, &commit, self.0.now_ms()).await.map_err(failed)?;
        Ok(Response::new(v1::ClaimResponse { denied: claimed.err().as_ref().map(v1::Denied::from) }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        self.0.store.release(request.into_inner().lease_ids).await.map_err(failed)?;
        Ok(Response::new(v1::ReleaseResponse {}))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let repository = request.into_inner().repository;
        let repository = if repository.is_empty() { None } else { Some(id::<RepoName>(&repository)?) };
        let leases = self.0.store.leases(repository.as_ref(), self.0.now_ms()).await.map_err(failed)?;
        Ok(Response::new(v1::ListResponse { leases: leases.iter().map(wire).collect() }))
    }
}
