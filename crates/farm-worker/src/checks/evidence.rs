//! What one run of a check's command showed, in a form that two runs can be compared by.

mod reports;

use std::collections::BTreeMap;

use farm_core::result::TestCounts;
use farm_core::task::Check;
use farm_sandbox::{Exit, Finished};
use serde::{Deserialize, Serialize};

use crate::steps::shorten;

/// The largest report file that is read, in bytes.
pub const MAX_REPORT_BYTES: u64 = 16 * 1024 * 1024;
/// What is kept of the output, in bytes.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// What pytest and, since Python 3.12, unittest say when they collected nothing.
const COLLECTED_NOTHING: i32 = 5;

/// What became of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed or could not run.
    Failed,
    /// It was left out.
    Skipped,
}

/// Test ids and what became of them.
pub type Tests = BTreeMap<String, Outcome>;

/// What one run showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Exit status; `None` if it did not end by itself.
    pub exit_code: Option<i32>,
    /// It ran no test, or could not run at all.
    pub ran_nothing: bool,
    /// The tests that the tool's report names.
    pub tests: Tests,
    /// Head and tail of what it said.
    pub output: String,
    /// Wall-clock time.
    pub duration_ms: u64,
}

impl Evidence {
    /// There is no such program here.
    pub fn no_program(program: &str) -> Self {
        Self { output: format!("there is no program {program:?} in the sandbox"), ..Self::nothing() }
    }

    /// Nothing was run.
    pub fn nothing() -> Self {
        Self {
            exit_code: None,
            ran_nothing: true,
            tests: Tests::new(),
            output: String::new(),
            duration_ms: 0,
        }
    }

    /// Whether the command itself was content.
    pub fn is_green(&self) -> bool {
        self.exit_code == Some(0)
    }

    /// The ids of the tests that failed.
    pub fn failing(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().filter(|(_, outcome)| **outcome == Outcome::Failed).map(|(id, _)| id.as_str())
    }

    /// Counted tests, where the report names any.
    pub fn counts(&self) -> Option<TestCounts> {
        if self.tests.is_empty() {
            return None;
        }
        let mut counts = TestCounts::default();
        for outcome in self.tests.values() {
            match outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed => counts.failed += 1,
                Outcome::Skipped => counts.skipped += 1,
            }
        }
        Some(counts)
    }
}

/// Whether standard output must be kept by itself and whole, since the report is there.
pub fn wants_stdout(check: &Check) -> bool {
    is_go_json(check)
}

/// Reads what a run showed.
pub fn read(check: &Check, finished: &Finished, junit: Option<&[u8]>) -> Evidence {
    let text = finished.output.text();
    let stdout = finished.stdout.as_ref().map(farm_sandbox::Captured::text).unwrap_or_default();
    let (exit_code, killed) = match finished.exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(format!("killed by signal {signal}"))),
        Exit::TimedOut => (None, Some(format!("killed after its limit of {:?}", check.timeout()))),
        Exit::OutputLimit => (None, Some("killed for writing too much".to_owned())),
        Exit::Cancelled => (None, Some("cancelled".to_owned())),
    };
    let report = match junit {
        Some(xml) => reports::junit(&String::from_utf8_lossy(xml)),
        None if is_go_json(check) => reports::go_json(&stdout),
        None => reports::text(&text),
    };
    let output = killed.map_or_else(|| text.clone(), |killed| format!("{text}\n[{killed}]"));
    Evidence {
        exit_code,
        ran_nothing: report.ran_nothing
            || exit_code == Some(COLLECTED_NOTHING) && report.tests.is_empty() && is_python(check),
        tests: report.tests,
        output: shorten(&output, MAX_OUTPUT_BYTES),
        duration_ms: u64::try_from(finished.wall.as_millis()).unwrap_or(u64::MAX),
    }
}

fn is_go_json(check: &Check) -> bool {
    check.argv.first().is_some_and(|program| program.ends_with("go"))
        && check.argv.iter().any(|a| a == "-json")
}

fn is_python(check: &Check) -> bool {
    check.argv.iter().any(|argument| argument.contains("pytest") || argument.contains("unittest"))
}
