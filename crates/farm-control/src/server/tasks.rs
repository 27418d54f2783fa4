//! TaskService: each call is one transaction of the store.

use std::sync::Arc;
use std::time::Instant;

use farm_core::id::TaskId;
use farm_core::result::CommitResult;
use farm_core::service::{Denied, GiveBack, Prepare, RawRecord, Step};
use farm_wire::v1::task_service_server::TaskService;
use farm_wire::{BadField, Message, service, v1};
use tonic::{Request, Response, Status};

use super::{bad, failed};
use crate::control::Control;

pub(super) struct Tasks(pub(super) Arc<Control>);

impl Tasks {
    fn observe<T>(&self, method: &str, since: Instant, answer: &Result<T, Status>) {
        let outcome = if answer.is_ok() { "ok" } else { "error" };
        let seconds = since.elapsed().as_secs_f64();
        self.0.metrics.call_seconds.with_label_values(&[method, outcome]).observe(seconds);
    }

    async fn prepare_once(&self, request: v1::PrepareRequest) -> Result<v1::PrepareResponse, Status> {
        let prepare = Prepare::try_from(request).map_err(bad)?;
        let result = decode_result(&prepare.result)?;
        let leave = self.0.store.prepare(&prepare, &result, self.0.now_ms()).await.map_err(failed)?;
        Ok(v1::PrepareResponse { denied: denied(leave) })
    }

    async fn complete_once(&self, request: v1::CompleteRequest) -> Result<v1::CompleteResponse, Status> {
        let run = service::run_ref(request.run).map_err(bad)?;
        let result = decode_result(&request.result)?;
        let leave =
            self.0.store.complete(&run, &result, &request.result, self.0.now_ms()).await.map_err(failed)?;
        if leave.is_ok() {
            self.0.metrics.results.with_label_values(&[result.status.as_str()]).inc();
        }
        Ok(v1::CompleteResponse { denied: denied(leave) })
    }
}

fn denied(leave: Result<(), Denied>) -> Option<v1::Denied> {
    leave.err().as_ref().map(v1::Denied::from)
}

fn decode_result(bytes: &[u8]) -> Result<CommitResult, Status> {
    let wire = v1::CommitResult::decode(bytes)
        .map_err(|error| Status::invalid_argument(format!("expected a CommitResult: {error}")))?;
    CommitResult::try_from(wire).map_err(bad)
}

#[tonic::async_trait]
impl TaskService for Tasks {
    async fn begin(&self, request: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        let since = Instant::now();
        let request = request.into_inner();
        let record = RawRecord { kind: request.record_type, payload: request.record.to_vec() };
        let answer = self.0.begin(&request.request_id, &request.worker, &record).await.map_err(failed);
        self.observe("begin", since, &answer);
        Ok(Response::new(service::begin_response(&answer?, self.0.store.id())))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let since = Instant::now();
        let request = request.into_inner();
        let run = service::run_ref(request.run).map_err(bad)?;
        let spent = request.spent.unwrap_or_default().into();
        let answer = self.0.store.heartbeat(&run, spent, self.0.now_ms()).await.map_err(failed);
        self.observe("heartbeat", since, &answer);
        Ok(Response::new(service::heartbeat_response(&answer?)))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let request = request.into_inner();
        let run = service::run_ref(request.run).map_err(bad)?;
        let steps: Result<Vec<Step>, BadField> = request.steps.into_iter().map(Step::try_from).collect();
        self.0.store.report(&run, steps.map_err(bad)?).await.map_err(failed)?;
        Ok(Response::new(v1::ReportResponse {}))
    }

    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        let since = Instant::now();
        let answer = self.prepare_once(request.into_inner()).await;
        self.observe("prepare", since, &answer);
        answer.map(Response::new)
    }

    async fn complete(
        &self,
        request: Request<v1::CompleteRequest>,
    ) -> Result<Response<v1::CompleteResponse>, Status> {
        let since = Instant::now();
        let answer = self.complete_once(request.into_inner()).await;
        self.observe("complete", since, &answer);
        answer.map(Response::new)
    }

    async fn published(
        &self,
        request: Request<v1::PublishedRequest>,
    ) -> Result<Response<v1::PublishedResponse>, Status> {
        let task = TaskId::new(request.into_inner().task_id)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.0.store.published(&task, self.0.now_ms()).await.map_err(failed)?;
        Ok(Response::new(v1::PublishedResponse {}))
    }

    async fn give_back(
        &self,
        request: Request<v1::GiveBackRequest>,
    ) -> Result<Response<v1::GiveBackResponse>, Status> {
        let give_back = GiveBack::try_from(request.into_inner()).map_err(bad)?;
        self.0.store.give_back(&give_back, self.0.now_ms()).await.map_err(failed)?;
        Ok(Response::new(v1::GiveBackResponse {}))
    }
}
