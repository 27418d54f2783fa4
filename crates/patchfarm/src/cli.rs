//! The command line (DESIGN §9).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::output::Form;

/// A Kafka-driven farm of coding-agent workers: change requests go in, tested and reviewed branches come out.
#[derive(Debug, Parser)]
#[command(name = "patchfarm", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The settings file.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a setting; see `config show` for their names.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the whole farm on this machine.
    Up {
        /// How many worker processes.
        #[arg(long, default_value_t = 2)]
        workers: u32,
    },
    /// Run fourteen tasks over three sample repositories, and say whether each ended as it should.
    Demo {
        /// Stay up afterwards.
        #[arg(long)]
        keep: bool,
    },
    /// Run control: the store, the task service, the page.
    Control,
    /// Run a worker.
    Worker {
        /// Run one task and end.
        #[arg(long)]
        once: bool,
        /// With --once: how long to wait for a task, in seconds.
        #[arg(long, default_value_t = 30, value_name = "SECONDS")]
        idle: u64,
    },
    /// Run the context service.
    Rag,
    /// Submit a change.
    Submit(Submit),
    /// Changes.
    #[command(subcommand)]
    Change(ChangeVerb),
    /// Tasks.
    #[command(subcommand)]
    Task(TaskVerb),
    /// Repositories.
    #[command(subcommand)]
    Repo(RepoVerb),
    /// Dead letters.
    #[command(subcommand)]
    Dlq(DlqVerb),
    /// Patches.
    #[command(subcommand)]
    Patch(PatchVerb),
    /// Code search.
    #[command(subcommand)]
    Context(ContextVerb),
    /// Kafka topics.
    #[command(subcommand)]
    Topics(TopicsVerb),
    /// The ledger.
    #[command(subcommand)]
    Ledger(LedgerVerb),
    /// Settings.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Ask a role's readiness; for containers.
    Health {
        /// Its metrics address; the settings' if absent.
        #[arg(long)]
        address: Option<String>,
    },
    /// Say what is missing on this machine.
    Doctor,
    /// Print a shell's completions.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// What is wanted, in words.
    #[arg(required_unless_present = "file")]
    pub goal: Option<String>,
    /// A ChangeRequest in JSON instead; `-` is standard input.
    #[arg(long, conflicts_with = "goal")]
    pub file: Option<String>,
    /// Which registered repository.
    #[arg(long, short)]
    pub repo: Option<String>,
    /// The file that the goal is about. With it, or with --command, the goal is one task; without, it is planned.
    #[arg(long)]
    pub path: Option<String>,
    /// Let this program make the patch: everything after `--`.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// The id of the change; made by the farm if absent.
    #[arg(long)]
    pub id: Option<String>,
    /// Waive the checks.
    #[arg(long)]
    pub no_checks: bool,
    /// Wait until the change needs a person or has ended.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: how long, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    #[command(flatten)]
    pub output: Output,
}

/// How to print.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// In which form.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    pub form: Form,
}

/// `change …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChangeVerb {
    /// List changes, newest first.
    List(List),
    /// Show one.
    Show(One),
    /// Watch one until it needs a person or has ended.
    Watch(One),
    /// Cancel one and its tasks.
    Cancel(One),
}

/// `task …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskVerb {
    /// List tasks, newest first.
    List(List),
    /// Show one with its timeline.
    Show(One),
    /// Watch one until it is done.
    Watch(One),
    /// Begin a failed one anew.
    Retry(One),
    /// Cancel one.
    Cancel(One),
    /// Print its diff.
    Diff(One),
}

/// A list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those in this state.
    #[arg(long)]
    pub state: Option<String>,
    /// Only those of this change (tasks).
    #[arg(long)]
    pub change: Option<String>,
    /// Only those of this repository.
    #[arg(long)]
    pub repo: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    #[command(flatten)]
    pub output: Output,
}

/// One thing.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its id.
    pub id: String,
    #[command(flatten)]
    pub output: Output,
}

/// `repo …`.
#[derive(Debug, Subcommand)]
pub(crate) enum RepoVerb {
    /// Register a repository, after proving that it can be read and that agt/ can be pushed.
    Add {
        /// Its name in the farm.
        name: String,
        /// Where it is.
        url: String,
        /// The branch that changes are for.
        #[arg(long, default_value = "main")]
        target: String,
        /// env:NAME, file:PATH or ssh-key:PATH, looked up by control and workers.
        #[arg(long)]
        credential: Option<String>,
        /// A TOML file with `[[check]]` and `[policy]`.
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
    },
    /// List them.
    List(Output),
    /// Remove one; its tasks end.
    Remove {
        /// Its name.
        name: String,
    },
}

/// `dlq …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqVerb {
    /// List dead letters.
    List(Output),
    /// Show one: PARTITION/OFFSET.
    Show {
        /// Where it stands.
        position: String,
    },
    /// Put one back on the task topic.
    Requeue {
        /// Where it stands.
        position: String,
    },
}

/// `patch …`.
#[derive(Debug, Subcommand)]
pub(crate) enum PatchVerb {
    /// Apply a model's raw reply, once and right, or refuse it.
    Apply(PatchApply),
}

/// `patch apply`.
#[derive(Debug, Args)]
#[group(id = "place", required = true, multiple = false, args = ["repo", "dir"])]
pub(crate) struct PatchApply {
    /// A git directory; nothing is checked out, objects are written.
    #[arg(long, value_name = "GITDIR")]
    pub repo: Option<PathBuf>,
    /// With --repo: the revision to apply to.
    #[arg(long, requires = "repo")]
    pub rev: Option<String>,
    /// A folder, edited in place, all or nothing.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// The reply; `-` is standard input.
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub input: String,
    /// The file that a reply without a path means.
    #[arg(long)]
    pub path: Option<String>,
    /// Change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Say in words what was forgiven, on standard error.
    #[arg(long)]
    pub explain: bool,
    /// One JSON object a line in (`rev`, `reply`), one out.
    #[arg(long, requires = "repo")]
    pub batch: bool,
    #[command(flatten)]
    pub output: Output,
}

/// `context …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// Find the code that a query is about; needs no server and no working tree.
    Search(ContextSearch),
}

/// `context search`.
#[derive(Debug, Args)]
pub(crate) struct ContextSearch {
    /// A git directory.
    #[arg(long, value_name = "GITDIR")]
    pub repo: PathBuf,
    /// The revision.
    #[arg(long, default_value = "HEAD")]
    pub rev: String,
    /// How many results.
    #[arg(long, default_value_t = 10)]
    pub limit: usize,
    /// What the results may fill.
    #[arg(long)]
    pub tokens: Option<usize>,
    #[command(flatten)]
    pub output: Output,
    /// What to look for.
    pub query: String,
}

/// `topics …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsVerb {
    /// Create what is missing; raise partitions; tell what differs.
    Apply(Output),
}

/// `ledger …`.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerVerb {
    /// Check the whole chain.
    Verify,
}

/// `config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Every setting, its value and where it comes from.
    Show(Output),
}
