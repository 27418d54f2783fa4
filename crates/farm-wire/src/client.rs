//! Speaks to control over gRPC, for workers.

use std::time::Duration;

use async_trait::async_trait;
use farm_core::id::TaskId;
use farm_core::port::{Tasks, Unanswered};
use farm_core::redact::Secret;
use farm_core::service::{Beat, Begun, Denied, GiveBack, Prepare, RawRecord, RunRef, Step};
use farm_core::task::Budget;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::v1::task_service_client::TaskServiceClient;
use crate::{BadField, service, v1};

/// How the task service is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://host:9090`.
    pub url: String,
    /// Sent as a bearer token, if control asks for one.
    pub token: Option<Secret>,
    /// Names this worker in the store, the ledger and on the page.
    pub worker: String,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How often a call that was not answered is sent again, with the same request id.
    pub retries: u32,
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("control's address {url:?} cannot be used: {detail}; expected http://HOST:PORT")]
pub struct BadAddress {
    /// What was given.
    pub url: String,
    /// Why not.
    pub detail: String,
}

/// Adds the bearer token to each call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// From the secret, if there is one; `None` if it cannot stand in a header.
    pub fn new(token: Option<&Secret>) -> Option<Self> {
        match token {
            None => Some(Self(None)),
            Some(token) => {
                let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.reveal()).parse().ok()?;
                value.set_sensitive(true);
                Some(Self(Some(value)))
            }
        }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// An authenticated channel.
pub type Authenticated = InterceptedService<Channel, Bearer>;

/// Opens a channel, lazily: the address need not answer yet.
pub fn channel(
    url: &str,
    token: Option<&Secret>,
    call_timeout: Duration,
) -> Result<Authenticated, BadAddress> {
    let bad = |detail: String| BadAddress { url: url.to_owned(), detail };
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| bad(error.to_string()))?
        .connect_timeout(Duration::from_secs(5))
        .timeout(call_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let bearer =
        Bearer::new(token).ok_or_else(|| bad("the token has characters no header may have".to_owned()))?;
    Ok(InterceptedService::new(endpoint.connect_lazy(), bearer))
}

/// The task service, over the network.
#[derive(Clone)]
pub struct TasksClient {
    client: TaskServiceClient<Authenticated>,
    settings: Settings,
}

/// A result may carry the output of many checks.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

impl TasksClient {
    /// Connects when first used.
    pub fn new(settings: Settings) -> Result<Self, BadAddress> {
        let channel = channel(&settings.url, settings.token.as_ref(), settings.call_timeout)?;
        let client = TaskServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, settings })
    }

    /// Sends until it is answered; what is sent is the same each time, request id included.
    async fn send<M, R, F, Fut>(&self, call: &'static str, message: M, send: F) -> Result<R, Unanswered>
    where
        M: Clone,
        F: Fn(TaskServiceClient<Authenticated>, M) -> Fut,
        Fut: Future<Output = Result<tonic::Response<R>, Status>>,
    {
        let mut pause = Duration::from_millis(50);
        let mut tries = 0;
        loop {
            let status = match send(self.client.clone(), message.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            tries += 1;
            if tries > self.settings.retries || !may_be_answered_later(status.code()) {
                let detail = format!("{}: {}", status.code(), status.message());
                return Err(Unanswered { call, detail });
            }
            tracing::debug!(call, code = %status.code(), "control did not answer, asking again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

fn may_be_answered_later(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
            | Code::ResourceExhausted
    )
}

/// A new id for one call; its retries keep it.
pub fn request_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn unreadable(call: &'static str) -> impl Fn(BadField) -> Unanswered {
    move |error| Unanswered { call, detail: format!("answer cannot be read: {error}") }
}

#[async_trait]
impl Tasks for TasksClient {
    async fn begin(&self, request: &str, record: &RawRecord) -> Result<Begun, Unanswered> {
        let message = v1::BeginRequest {
            request_id: request.to_owned(),
            worker: self.settings.worker.clone(),
            record_type: record.kind.clone(),
            record: record.payload.clone().into(),
        };
        let response = self
            .send("Begin", message, |mut client, message| async move { client.begin(message).await })
            .await?;
        Begun::try_from(response).map_err(unreadable("Begin"))
    }

    async fn heartbeat(&self, run: &RunRef, spent: Budget) -> Result<Beat, Unanswered> {
        let message = v1::HeartbeatRequest { run: Some(run.into()), spent: Some(spent.into()) };
        let response = self
            .send("Heartbeat", message, |mut client, message| async move { client.heartbeat(message).await })
            .await?;
        Beat::try_from(response).map_err(unreadable("Heartbeat"))
    }

    async fn report(&self, run: &RunRef, steps: Vec<Step>) -> Result<(), Unanswered> {
        let steps = steps.iter().map(v1::Step::from).collect();
        let message = v1::ReportRequest { run: Some(run.into()), steps };
        self.send("Report", message, |mut client, message| async move { client.report(message).await })
            .await?;
        Ok(())
    }

    async fn prepare(&self, prepare: &Prepare) -> Result<Result<(), Denied>, Unanswered> {
        let message = service::prepare_request(prepare, request_id());
        let response = self
            .send("Prepare", message, |mut client, message| async move { client.prepare(message).await })
            .await?;
        service::verdict(response.denied).map_err(unreadable("Prepare"))
    }

    async fn complete(&self, run: &RunRef, result: &[u8]) -> Result<Result<(), Denied>, Unanswered> {
        let message = v1::CompleteRequest {
            request_id: request_id(),
            run: Some(run.into()),
            result: result.to_vec().into(),
        };
        let response = self
            .send("Complete", message, |mut client, message| async move { client.complete(message).await })
            .await?;
        service::verdict(response.denied).map_err(unreadable("Complete"))
    }

    async fn published(&self, task: &TaskId) -> Result<(), Unanswered> {
        let message = v1::PublishedRequest { task_id: task.to_string() };
        self.send("Published", message, |mut client, message| async move { client.published(message).await })
            .await?;
        Ok(())
    }

    async fn give_back(&self, give_back: &GiveBack) -> Result<(), Unanswered> {
        let message = service::give_back_request(give_back, request_id());
        self.send("GiveBack", message, |mut client, message| async move { client.give_back(message).await })
            .await?;
        Ok(())
    }
}
