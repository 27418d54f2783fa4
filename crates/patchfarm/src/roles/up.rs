//! `patchfarm up`: the whole farm on one machine. Control and the embedded broker live in this process; rag and the workers
//! are child processes of the same binary, rag with an empty environment (DESIGN §8).

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farm_kafka::EmbeddedBroker;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Outcome;
use crate::program::Program;
use crate::roles::{control, topics};

/// Partitions of the embedded broker: as many workers as one machine may want.
const PARTITIONS: i32 = 8;

/// The farm, under way.
pub(crate) struct Farm {
    /// Page and API.
    pub url: String,
    control: control::Started,
    children: Vec<Arc<Supervised>>,
    watching: TaskTracker,
    stop: CancellationToken,
    _broker: EmbeddedBroker,
}

/// A child process that is started again when it ends by itself.
struct Supervised {
    name: String,
    pid: Mutex<Option<u32>>,
}

/// Runs until told to stop.
pub(crate) async fn run(program: Program, n_workers: u32) -> Outcome {
    let farm = start(&program, n_workers).await?;
    crate::output::say(&format!("the farm is up: {}  (PATCHFARM_URL={})", farm.url, farm.url));
    program.stop.cancelled().await;
    farm.end().await;
    Ok(())
}

/// Starts broker, control, rag and workers.
pub(crate) async fn start(program: &Program, n_workers: u32) -> Outcome<Farm> {
    let topics = topics(&program.settings);
    let specs: Vec<(String, i32)> = topics
        .all()
        .into_iter()
        .map(|name| (name.to_owned(), if name == topics.coding_tasks { PARTITIONS } else { 1 }))
        .collect();
    let broker = EmbeddedBroker::start(&specs)?;

    let mut settings = program.settings.clone();
    settings.decide("kafka.bootstrap", broker.bootstrap());
    let properties = EmbeddedBroker::client_properties();
    let properties: Vec<String> = properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    settings.decide("kafka.properties", properties.join(","));
    for key in ["control.grpc-listen", "control.http-listen", "metrics.listen"] {
        if !settings.is_set(key) && !is_free(settings.text(key)) {
            settings.decide(key, "127.0.0.1:0");
        }
    }
    // Control and the broker outlive the workers, so that these can give back what they have.
    let inner = Program { stop: CancellationToken::new(), ..program.with(settings.clone()) };
    let control = control::start(&inner).await?;
    let url = format!("http://{}", control.http);

    settings.decide("worker.control-url", format!("http://{}", control.grpc));
    settings.decide("metrics.listen", "127.0.0.1:0");
    let rag_listen = free_address()?;
    let watching = TaskTracker::new();
    let mut children = Vec::new();
    let mut spawn = |name: String, role: &'static str, environment: Vec<(String, String)>| {
        let child = Arc::new(Supervised { name, pid: Mutex::new(None) });
        watching.spawn(Arc::clone(&child).watch(role, environment, program.stop.clone()));
        children.push(child);
    };
    let rag = [("PATCHFARM_RAG_LISTEN", rag_listen.as_str()), ("PATCHFARM_METRICS_LISTEN", "127.0.0.1:0")];
    spawn("rag".to_owned(), "rag", rag.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    settings.decide("worker.rag-url", format!("http://{rag_listen}"));
    for n in 1..=n_workers {
        let mut settings = settings.clone();
        settings.decide("worker.name", format!("worker-{n}"));
        let own = settings.environment().map(|(name, value)| (name, value.to_owned()));
        let inherited = program.environment.clone().into_iter();
        spawn(format!("worker-{n}"), "worker", inherited.chain(own).collect());
    }
    Ok(Farm { url, control, children, watching, stop: inner.stop, _broker: broker })
}

impl Farm {
    /// Ends a child with SIGKILL; it is started again. For the demo, which shows that nothing is lost by it.
    pub(crate) fn kill(&self, name: &str) -> bool {
        let child = self.children.iter().find(|child| child.name == name);
        let pid = child.and_then(|child| *child.pid.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(pid) = pid else { return false };
        let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        killed.is_ok_and(|status| status.success())
    }

    /// Waits for the workers to drain, then ends control and the broker.
    pub(crate) async fn end(self) {
        self.watching.close();
        self.watching.wait().await;
        self.stop.cancel();
        self.control.end().await;
    }
}

impl Supervised {
    async fn watch(
        self: Arc<Self>,
        role: &'static str,
        environment: Vec<(String, String)>,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            match spawn(role, &environment) {
                Ok(child) => self.tend(child, &stop).await,
                Err(error) => tracing::error!(name = self.name, %error, "cannot be started"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    }

    async fn tend(&self, mut child: Child, stop: &CancellationToken) {
        let set = |pid| *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = pid;
        set(child.id());
        tokio::select! {
            ended = child.wait() => {
                set(None);
                tracing::warn!(name = self.name, ?ended, "ended by itself; it is started again");
            }
            () = stop.cancelled() => {
                if let Some(pid) = child.id() {
                    let told = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
                    tracing::debug!(name = self.name, ?told, "told to stop");
                }
                let ended = child.wait().await;
                tracing::debug!(name = self.name, ?ended, "stopped");
            }
        }
    }
}

fn spawn(role: &str, environment: &[(String, String)]) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg(role)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // A signal from the terminal goes to the parent, which stops its children in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

fn is_free(address: &str) -> bool {
    std::net::TcpListener::bind(address).is_ok()
}

fn free_address() -> std::io::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
