//! The table of the scenario: one row a task.

use std::ops::RangeInclusive;

use farm_core::reason::Reason;

use super::TreeFile;

/// A task.
pub(super) struct Row {
    pub(super) task: &'static str,
    /// Tasks of one change stand next to each other.
    pub(super) change: &'static str,
    pub(super) change_goal: &'static str,
    pub(super) repository: &'static str,
    /// What it shows, for people.
    pub(super) title: &'static str,
    pub(super) kind: &'static str,
    /// Found in the prompt, and so unique: no goal stands in another, nor in a sample.
    pub(super) goal: &'static str,
    pub(super) path: Option<&'static str>,
    pub(super) work: Work,
    /// How long the model takes; the server's latency when absent.
    pub(super) delay_ms: Option<u64>,
    pub(super) reason: Reason,
    pub(super) attempts: RangeInclusive<u32>,
    pub(super) files: &'static [TreeFile],
    pub(super) kill_worker: bool,
}

/// How the patch is made.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// By the model: one reply a call, the last one again and again.
    Replies(&'static [&'static str]),
    /// By the model, whose second reply answers what the checks found.
    Mended { first: &'static str, again: &'static str },
    /// By a program.
    Command(&'static [&'static str]),
}

macro_rules! reply {
    ($task:literal, $file:literal) => {
        include_str!(concat!("../../scenario/", $task, "/", $file))
    };
}

macro_rules! after {
    ($task:literal: $($path:literal),+) => {
        &[$(TreeFile {
            path: $path,
            content: include_str!(concat!("../../scenario/", $task, "/after/", $path)),
        }),+]
    };
}

/// What most rows have in common: a change of its own, and a success at the first attempt.
const PLAIN: Row = Row {
    task: "",
    change: "",
    change_goal: "",
    repository: "",
    title: "",
    kind: "fix",
    goal: "",
    path: None,
    work: Work::Command(&[]),
    delay_ms: None,
    reason: Reason::Ok,
    attempts: 1..=1,
    files: &[],
    kill_worker: false,
};

/// The change of three tasks.
pub(super) const INTEGRATED: &str = "greet-languages";
const INTEGRATED_GOAL: &str = "greet copes with more languages";

pub(super) const ROWS: &[Row] = &[
    Row {
        task: "tally-last-line",
        change: "tally-last-line",
        change_goal: "count every line",
        repository: "tally",
        title: "right at once",
        goal: "lines() must also count a last line that no newline ends",
        path: Some("src/count.rs"),
        work: Work::Replies(&[reply!("tally-last-line", "reply.md")]),
        files: after!("tally-last-line": "src/count.rs"),
        ..PLAIN
    },
    Row {
        task: "tally-median",
        change: "tally-median",
        change_goal: "a median that is one",
        repository: "tally",
        title: "right after a failed check",
        goal: "median() of an even number of values is the mean of the two in the middle",
        path: Some("src/stats.rs"),
        work: Work::Mended {
            first: reply!("tally-median", "reply-1.md"),
            again: reply!("tally-median", "reply-2.md"),
        },
        attempts: 2..=2,
        files: after!("tally-median": "src/stats.rs"),
        ..PLAIN
    },
    Row {
        task: "relay-retry-limit",
        change: "relay-retry-limit",
        change_goal: "retry as often as asked",
        repository: "relay",
        title: "a diff with wrong line numbers",
        goal: "retry must run its command TIMES times, not once more",
        path: Some("lib/retry.sh"),
        work: Work::Replies(&[reply!("relay-retry-limit", "reply.md")]),
        files: after!("relay-retry-limit": "lib/retry.sh", "tests/retry_test.sh"),
        ..PLAIN
    },
    Row {
        task: "greet-night",
        change: "greet-night",
        change_goal: "nobody is wished a good morning at night",
        repository: "greet",
        title: "a search/replace reply",
        kind: "feat",
        goal: "part_of_day() says night from 22 until 5 in the morning",
        path: Some("greet/clock.py"),
        work: Work::Replies(&[reply!("greet-night", "reply.md")]),
        files: after!("greet-night": "greet/clock.py", "tests/test_clock.py"),
        ..PLAIN
    },
    Row {
        task: "greet-names",
        change: "greet-names",
        change_goal: "names as people type them",
        repository: "greet",
        title: "a reply in JSON",
        goal: "full_name() removes white space around each of its names",
        path: Some("greet/names.py"),
        work: Work::Replies(&[reply!("greet-names", "reply.json")]),
        files: after!("greet-names": "greet/names.py", "tests/test_names.py"),
        ..PLAIN
    },
    Row {
        task: "greet-rename",
        change: "greet-rename",
        change_goal: "one word for one thing",
        repository: "greet",
        title: "a codemod, without a model",
        kind: "refactor",
        goal: "rename salute() to welcome() wherever it is used",
        work: Work::Command(&["python3", "-B", "tools/rename.py", "salute", "welcome"]),
        files: after!("greet-rename": "greet/__main__.py", "greet/phrases.py", "tests/test_phrases.py"),
        ..PLAIN
    },
    // These two want neighbouring lines of describe(): the lease on the file lets one wait for the other.
    Row {
        task: "relay-no-level",
        change: "relay-no-level",
        change_goal: "a line without a level can be read",
        repository: "relay",
        title: "two in one function: the one",
        goal: "describe shows an empty level as [none]",
        path: Some("lib/fields.sh"),
        work: Work::Replies(&[reply!("relay-no-level", "reply.md")]),
        delay_ms: Some(700),
        files: after!("relay-no-level": "lib/fields.sh", "tests/fields_test.sh"),
        ..PLAIN
    },
    Row {
        task: "relay-no-host",
        change: "relay-no-host",
        change_goal: "a line without a host can be read",
        repository: "relay",
        title: "two in one function: the other",
        goal: "describe shows an empty host as unknown host",
        path: Some("lib/fields.sh"),
        work: Work::Replies(&[reply!("relay-no-host", "reply.md")]),
        delay_ms: Some(700),
        files: after!("relay-no-host": "lib/fields.sh", "tests/fields_test.sh"),
        ..PLAIN
    },
    Row {
        task: "relay-production",
        change: "relay-production",
        change_goal: "see more of what happens in production",
        repository: "relay",
        title: "a forbidden path",
        kind: "chore",
        goal: "set the level in deploy/production.conf to debug",
        path: Some("deploy/production.conf"),
        work: Work::Replies(&[reply!("relay-production", "reply.md")]),
        reason: Reason::PathForbidden,
        ..PLAIN
    },
    // A test pins the ranks, and the model never looks at it.
    Row {
        task: "relay-notice",
        change: "relay-notice",
        change_goal: "know the level notice",
        repository: "relay",
        title: "never right",
        kind: "feat",
        goal: "level_rank knows notice, which lies between info and warn",
        path: Some("lib/levels.sh"),
        work: Work::Replies(&[
            reply!("relay-notice", "reply-1.md"),
            reply!("relay-notice", "reply-2.md"),
            reply!("relay-notice", "reply-3.md"),
        ]),
        reason: Reason::ChecksFailed,
        attempts: 3..=3,
        ..PLAIN
    },
    Row {
        task: "relay-usage",
        change: "relay-usage",
        change_goal: "relay explains itself",
        repository: "relay",
        title: "its worker is killed half-way",
        kind: "feat",
        goal: "bin/relay --help says how it is used",
        path: Some("bin/relay"),
        work: Work::Replies(&[reply!("relay-usage", "reply.md")]),
        delay_ms: Some(1500),
        // A worker that dies after the reply leaves an attempt behind.
        attempts: 1..=2,
        files: after!("relay-usage": "bin/relay", "tests/relay_test.sh"),
        kill_worker: true,
        ..PLAIN
    },
    Row {
        task: "greet-swedish",
        change: INTEGRATED,
        change_goal: INTEGRATED_GOAL,
        repository: "greet",
        title: "a change of three: one",
        kind: "feat",
        goal: "salute() speaks Swedish: Hej",
        path: Some("greet/phrases.py"),
        work: Work::Replies(&[reply!("greet-swedish", "reply.md")]),
        files: after!("greet-swedish": "greet/phrases.py", "tests/test_phrases.py"),
        ..PLAIN
    },
    Row {
        task: "greet-fallback",
        change: INTEGRATED,
        change_goal: INTEGRATED_GOAL,
        repository: "greet",
        title: "a change of three: two",
        goal: "salute() falls back to English for a language that it does not know",
        path: Some("greet/phrases.py"),
        work: Work::Replies(&[reply!("greet-fallback", "reply.md")]),
        files: after!("greet-fallback": "greet/phrases.py", "tests/test_fallback.py"),
        ..PLAIN
    },
    Row {
        task: "greet-readme",
        change: INTEGRATED,
        change_goal: INTEGRATED_GOAL,
        repository: "greet",
        title: "a change of three: three",
        kind: "docs",
        goal: "the README names Swedish, and says what happens to other languages",
        path: Some("README.md"),
        work: Work::Replies(&[reply!("greet-readme", "reply.md")]),
        files: after!("greet-readme": "README.md"),
        ..PLAIN
    },
];

/// The files of the change of three: two tasks wrote the first one, each of the others has one author.
pub(super) fn integrated_files() -> Vec<TreeFile> {
    let both: &[TreeFile] = after!("greet-languages": "greet/phrases.py");
    let shared = |file: &TreeFile| both.iter().any(|known| known.path == file.path);
    let own = ROWS.iter().filter(|row| row.change == INTEGRATED).flat_map(|row| row.files);
    both.iter().chain(own.filter(|file| !shared(file))).copied().collect()
}
