//! Compares what a check showed with what it must show.

use std::collections::{BTreeMap, BTreeSet};

use farm_core::result::{TestCounts, Verdict};

use super::evidence::{Evidence, Outcome};

/// The most failures that a report names.
const MAX_NAMED: usize = 50;

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Exit status of the run on the patched tree.
    pub exit_code: Option<i32>,
    /// Its wall-clock time.
    pub duration_ms: u64,
    /// Its counted tests, where known.
    pub tests: Option<TestCounts>,
    /// What fails now and did not before.
    pub new_failures: Vec<String>,
    /// What it said.
    pub output: String,
}

impl Judged {
    fn new(verdict: Verdict, now: Evidence, new_failures: Vec<String>) -> Self {
        Self {
            verdict,
            exit_code: now.exit_code,
            duration_ms: now.duration_ms,
            tests: now.counts(),
            new_failures: new_failures.into_iter().take(MAX_NAMED).collect(),
            output: now.output,
        }
    }

    /// The check had nothing to look at.
    pub fn not_run(why: &str) -> Self {
        Self::new(Verdict::NotRun, Evidence { output: why.to_owned(), ..Evidence::nothing() }, Vec::new())
    }

    /// It was green on an unchanged rerun.
    pub fn flaky(self) -> Self {
        Self { verdict: Verdict::Flaky, ..self }
    }
}

/// A green run that needs no comparison; one that ran nothing is no pass.
pub fn alone(now: Evidence) -> Judged {
    let verdict = if now.ran_nothing { Verdict::NotRun } else { Verdict::Pass };
    Judged::new(verdict, now, Vec::new())
}

/// A run that is not plainly green, beside the base's, if there is one to compare with.
pub fn against(now: Evidence, before: Option<&Evidence>) -> Judged {
    let named: Vec<String> = now.failing().map(str::to_owned).collect();
    let Some(before) = before else {
        return if now.is_green() || now.ran_nothing {
            alone(now)
        } else {
            Judged::new(Verdict::Fail, now, named)
        };
    };
    if now.ran_nothing {
        if before.ran_nothing {
            return Judged::new(Verdict::NotRun, now, Vec::new());
        }
        let lost = vec!["ran tests on the base, and none now".to_owned()];
        return Judged::new(Verdict::Fail, now, lost);
    }
    if now.is_green() {
        return alone(now);
    }
    if before.is_green() || before.ran_nothing {
        return Judged::new(Verdict::Fail, now, named);
    }
    let new = if named.is_empty() || before.failing().next().is_none() {
        if now.exit_code != before.exit_code {
            return Judged::new(Verdict::Fail, now, Vec::new());
        }
        new_lines(&now.output, &before.output)
    } else {
        new_failures(&now, before)
    };
    let verdict = if new.is_empty() { Verdict::NoWorse } else { Verdict::Fail };
    Judged::new(verdict, now, new)
}

/// Red before, green now: the new test shows that the fix was needed and that it works.
pub fn fail_then_pass(now: Evidence, before: &Evidence) -> Judged {
    if now.ran_nothing || before.ran_nothing {
        return Judged::new(Verdict::NotRun, now, Vec::new());
    }
    if !now.is_green() {
        let named = now.failing().map(str::to_owned).collect();
        return Judged::new(Verdict::Fail, now, named);
    }
    if before.is_green() {
        let useless =
            vec!["it is green on the base with only the new tests: they do not show the fault".to_owned()];
        return Judged::new(Verdict::Fail, now, useless);
    }
    Judged::new(Verdict::Pass, now, Vec::new())
}

/// Tests that failed now and not before, and tests that passed before and are gone.
fn new_failures(now: &Evidence, before: &Evidence) -> Vec<String> {
    let old: BTreeSet<&str> = before.failing().collect();
    let mut new: Vec<String> = now.failing().filter(|id| !old.contains(id)).map(str::to_owned).collect();
    // Only a report that names what passed can show that a test is gone.
    if now.tests.values().any(|outcome| *outcome == Outcome::Passed) {
        let gone = before
            .tests
            .iter()
            .filter(|(id, outcome)| **outcome == Outcome::Passed && !now.tests.contains_key(*id))
            .map(|(id, _)| format!("{id} (passed on the base, gone now)"));
        new.extend(gone);
    }
    new
}

/// Lines that are there more often than on the base, numbers aside: a diagnostic that only moved is not new.
fn new_lines(now: &str, before: &str) -> Vec<String> {
    let mut old: BTreeMap<String, usize> = BTreeMap::new();
    for line in before.lines() {
        *old.entry(without_numbers(line)).or_default() += 1;
    }
    let mut new = Vec::new();
    for line in now.lines().filter(|line| !line.trim().is_empty()) {
        match old.get_mut(&without_numbers(line)) {
            Some(n) if *n > 0 => *n -= 1,
            _ => new.push(line.trim().to_owned()),
        }
    }
    new
}

fn without_numbers(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut in_number = false;
    for c in line.trim().chars() {
        let digit = c.is_ascii_digit() || (in_number && c == '.');
        if !digit {
            text.push(c);
        } else if !in_number {
            text.push('#');
        }
        in_number = digit;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(exit_code: i32, tests: &[(&str, Outcome)], output: &str) -> Evidence {
        Evidence {
            exit_code: Some(exit_code),
            ran_nothing: false,
            tests: tests.iter().map(|(id, outcome)| ((*id).to_owned(), *outcome)).collect(),
            output: output.to_owned(),
            duration_ms: 1,
        }
    }

    use Outcome::{Failed, Passed};

    #[test]
    fn old_failures_are_excused_and_new_ones_are_named() {
        let base = evidence(1, &[("a", Passed), ("b", Failed)], "");
        for (tests, verdict, named) in [
            (&[("a", Passed), ("b", Failed)][..], Verdict::NoWorse, vec![]),
            (&[("a", Failed), ("b", Failed)], Verdict::Fail, vec!["a"]),
            (&[("a", Failed), ("b", Passed)], Verdict::Fail, vec!["a"]),
            (&[("c", Passed), ("b", Failed)], Verdict::Fail, vec!["a (passed on the base, gone now)"]),
        ] {
            let judged = against(evidence(1, tests, ""), Some(&base));
            assert_eq!(
                (judged.verdict, judged.new_failures),
                (verdict, named.iter().map(|s| s.to_string()).collect())
            );
        }
    }

    #[test]
    fn without_ids_the_diagnostics_decide() {
        let base = evidence(1, &[], "a.py:10: unused x\nfound 1 error in 0.31s");
        let moved = evidence(1, &[], "a.py:12: unused x\nfound 1 error in 0.4s");
        assert_eq!(against(moved, Some(&base)).verdict, Verdict::NoWorse);
        let more = evidence(1, &[], "a.py:12: unused x\na.py:13: unused y\nfound 2 errors in 0.4s");
        let judged = against(more, Some(&base));
        assert_eq!(judged.verdict, Verdict::Fail);
        assert!(judged.new_failures.contains(&"a.py:13: unused y".to_owned()), "{:?}", judged.new_failures);
        let other_exit = evidence(2, &[], "a.py:10: unused x\nfound 1 error in 0.31s");
        assert_eq!(against(other_exit, Some(&base)).verdict, Verdict::Fail);
    }

    #[test]
    fn red_against_a_green_or_missing_base_is_red() {
        let red = || evidence(1, &[("a", Failed)], "");
        assert_eq!(against(red(), Some(&evidence(0, &[("a", Passed)], ""))).verdict, Verdict::Fail);
        assert_eq!(against(red(), Some(&Evidence::nothing())).verdict, Verdict::Fail);
        assert_eq!(against(red(), None).verdict, Verdict::Fail);
    }

    #[test]
    fn what_ran_nothing_is_never_a_pass() {
        let silent = || Evidence { exit_code: Some(0), ..Evidence::nothing() };
        assert_eq!(alone(silent()).verdict, Verdict::NotRun);
        assert_eq!(against(silent(), None).verdict, Verdict::NotRun);
        assert_eq!(against(silent(), Some(&Evidence::nothing())).verdict, Verdict::NotRun);
        assert_eq!(against(silent(), Some(&evidence(0, &[("a", Passed)], ""))).verdict, Verdict::Fail);
        assert_eq!(fail_then_pass(silent(), &evidence(1, &[("a", Failed)], "")).verdict, Verdict::NotRun);
    }

    #[test]
    fn a_fix_needs_a_test_that_fails_without_it() {
        let green = || evidence(0, &[("a", Passed)], "");
        let red = || evidence(1, &[("a", Failed)], "");
        for (now, before, verdict) in [
            (green(), red(), Verdict::Pass),
            (green(), green(), Verdict::Fail),
            (red(), red(), Verdict::Fail),
            (green(), Evidence::nothing(), Verdict::NotRun),
        ] {
            assert_eq!(fail_then_pass(now, &before).verdict, verdict);
        }
    }
}
