//! Reads the reports of test tools: JUnit, `go test -json`, and what cargo, pytest and unittest print.

use serde::Deserialize;

use super::{Outcome, Tests};

/// What a report says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) tests: Tests,
    /// A test tool spoke, and said that there was nothing to run.
    pub(super) ran_nothing: bool,
}

/// JUnit's XML, as most tools write it.
pub(super) fn junit(xml: &str) -> Report {
    let options =
        roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: 1_000_000, ..Default::default() };
    let Ok(document) = roxmltree::Document::parse_with_options(xml, options) else {
        return Report::default();
    };
    let mut tests = Tests::new();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let name = case.attribute("name").unwrap_or_default();
        let id =
            case.attribute("classname").map_or_else(|| name.to_owned(), |class| format!("{class}::{name}"));
        let has = |tag: &str| case.children().any(|child| child.has_tag_name(tag));
        let outcome = if has("failure") || has("error") {
            Outcome::Failed
        } else if has("skipped") {
            Outcome::Skipped
        } else {
            Outcome::Passed
        };
        note(&mut tests, id, outcome);
    }
    Report { ran_nothing: tests.is_empty(), tests }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoEvent {
    action: String,
    package: Option<String>,
    test: Option<String>,
}

/// `go test -json`: one event a line.
pub(super) fn go_json(text: &str) -> Report {
    let mut tests = Tests::new();
    let mut packages = 0;
    for event in text.lines().filter_map(|line| serde_json::from_str::<GoEvent>(line).ok()) {
        let outcome = match event.action.as_str() {
            "pass" => Outcome::Passed,
            "fail" => Outcome::Failed,
            "skip" => Outcome::Skipped,
            _ => continue,
        };
        let package = event.package.unwrap_or_default();
        match event.test {
            Some(test) => note(&mut tests, format!("{package}.{test}"), outcome),
            // A package that does not build fails without a test.
            None if outcome == Outcome::Failed => note(&mut tests, package, outcome),
            None => packages += 1,
        }
    }
    Report { ran_nothing: tests.is_empty() && packages > 0, tests }
}

/// What cargo, pytest (`-rA`) and unittest print. Their lines differ enough to be read together.
pub(super) fn text(text: &str) -> Report {
    let mut tests = Tests::new();
    let mut binary = "";
    let (mut spoke, mut ran) = (false, false);
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(rest) = line.trim_start().strip_prefix("Running ") {
            binary = rest.split([' ', '(']).find(|word| word.contains('/')).unwrap_or(rest);
        } else if let Some(rest) = line.trim_start().strip_prefix("Doc-tests ") {
            binary = rest;
        } else if let Some(n) = counted(line, "running ", " test") {
            (spoke, ran) = (true, ran || n > 0);
        } else if let Some(n) = counted(line, "Ran ", " test") {
            (spoke, ran) = (true, ran || n > 0);
        } else if line.contains("no tests ran") || line.contains("NO TESTS RAN") {
            spoke = true;
        }
        if let Some((id, outcome)) = cargo(line) {
            note(&mut tests, format!("{binary}::{id}"), outcome);
        } else if let Some((id, outcome)) = pytest(line).or_else(|| unittest(line)) {
            note(&mut tests, id.to_owned(), outcome);
        }
    }
    Report { ran_nothing: spoke && !ran && tests.is_empty(), tests }
}

/// A test that ran twice has failed if it failed once.
fn note(tests: &mut Tests, id: String, outcome: Outcome) {
    let known = tests.entry(id).or_insert(outcome);
    if outcome == Outcome::Failed {
        *known = outcome;
    }
}

/// `running 3 tests`, `Ran 1 test in 0.001s`.
fn counted(line: &str, before: &str, after: &str) -> Option<u64> {
    line.strip_prefix(before)?.split_once(after)?.0.parse().ok()
}

/// `test name ... ok`.
fn cargo(line: &str) -> Option<(&str, Outcome)> {
    let (id, word) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match word.split_whitespace().next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" | "ignored," => Outcome::Skipped,
        _ => return None,
    };
    Some((id, outcome))
}

/// `PASSED tests/test_a.py::test_b`, and after a dash why not.
fn pytest(line: &str) -> Option<(&str, Outcome)> {
    let (word, rest) = line.split_once(' ')?;
    let outcome = match word {
        "PASSED" | "XFAIL" => Outcome::Passed,
        "FAILED" | "ERROR" => Outcome::Failed,
        _ => return None,
    };
    let id = rest.split(" - ").next()?.trim();
    (id.contains("::") || id.ends_with(".py")).then_some((id, outcome))
}

/// `test_a (mod.Class.test_a) ... ok` with `-v`, `FAIL: test_a (mod.Class.test_a)` without.
fn unittest(line: &str) -> Option<(&str, Outcome)> {
    let id_in = |text: &'_ str| -> Option<(usize, usize)> {
        let (start, end) = (text.find('(')? + 1, text.find(')')?);
        (start < end && !text[start..end].contains(' ')).then_some((start, end))
    };
    for (prefix, outcome) in [("FAIL: ", Outcome::Failed), ("ERROR: ", Outcome::Failed)] {
        if let Some(rest) = line.strip_prefix(prefix) {
            let (start, end) = id_in(rest)?;
            return Some((&rest[start..end], outcome));
        }
    }
    let (head, word) = line.rsplit_once(" ... ")?;
    let outcome = match word.split_whitespace().next()? {
        "ok" => Outcome::Passed,
        "FAIL" | "ERROR" => Outcome::Failed,
        "skipped" => Outcome::Skipped,
        _ => return None,
    };
    let (start, end) = id_in(head)?;
    Some((&head[start..end], outcome))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(report: &Report) -> Vec<(&str, Outcome)> {
        report.tests.iter().map(|(id, outcome)| (id.as_str(), *outcome)).collect()
    }

    #[test]
    fn cargo_is_read_with_its_binaries() {
        let report = text(
            "     Running unittests src/lib.rs (target/debug/deps/tally-0123456789abcdef)\n\nrunning 2 tests\n\
             test tests::adds ... ok\ntest tests::takes ... FAILED\n\n   Doc-tests tally\n\nrunning 1 test\n\
             test src/lib.rs - sum (line 3) ... ignored\n",
        );
        assert_eq!(
            listed(&report),
            [
                ("src/lib.rs::tests::adds", Outcome::Passed),
                ("src/lib.rs::tests::takes", Outcome::Failed),
                ("tally::src/lib.rs - sum (line 3)", Outcome::Skipped),
            ]
        );
    }

    #[test]
    fn pytest_and_unittest_are_read() {
        let report = text("PASSED tests/test_a.py::test_b\nFAILED tests/test_a.py::test_c - assert 1 == 2\n");
        assert_eq!(
            listed(&report),
            [("tests/test_a.py::test_b", Outcome::Passed), ("tests/test_a.py::test_c", Outcome::Failed)]
        );
        let report =
            text("test_a (m.C.test_a) ... ok\ntest_b (m.C.test_b) ... FAIL\nFAIL: test_b (m.C.test_b)\n");
        assert_eq!(listed(&report), [("m.C.test_a", Outcome::Passed), ("m.C.test_b", Outcome::Failed)]);
    }

    #[test]
    fn a_tool_that_ran_nothing_says_so() {
        for silent in [
            "running 0 tests\n\ntest result: ok. 0 passed",
            "Ran 0 tests in 0.000s\n\nOK",
            "no tests ran in 0.01s",
            "NO TESTS RAN",
        ] {
            assert!(text(silent).ran_nothing, "{silent}");
        }
        assert!(!text("running 0 tests\n\nrunning 1 test\ntest a ... ok").ran_nothing);
        assert!(!text("all good").ran_nothing);
        assert!(junit("<testsuite tests=\"0\"></testsuite>").ran_nothing);
        assert!(go_json("{\"Action\":\"skip\",\"Package\":\"p\"}").ran_nothing);
    }

    #[test]
    fn go_is_read() {
        let report = go_json(
            "{\"Action\":\"run\",\"Package\":\"p\",\"Test\":\"TestA\"}\n{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":\"TestA\"}\n\
             {\"Action\":\"fail\",\"Package\":\"p\",\"Test\":\"TestB\"}\n{\"Action\":\"fail\",\"Package\":\"q\"}\nno json\n",
        );
        assert_eq!(
            listed(&report),
            [("p.TestA", Outcome::Passed), ("p.TestB", Outcome::Failed), ("q", Outcome::Failed)]
        );
    }

    #[test]
    fn junit_is_read() {
        let report = junit(
            "<testsuites><testsuite><testcase classname='c' name='a'/><testcase classname='c' name='b'><failure>x</failure>\
             </testcase><testcase name='s'><skipped/></testcase></testsuite></testsuites>",
        );
        assert_eq!(
            listed(&report),
            [("c::a", Outcome::Passed), ("c::b", Outcome::Failed), ("s", Outcome::Skipped)]
        );
    }

    proptest! {
        #[test]
        fn any_output_is_read_without_harm(bytes in "\\PC{0,300}", lines in "(test|FAIL: |PASSED |Ran |running |\\(|\\)| \\.\\.\\. |ok|\n){0,40}") {
            for report in [&bytes, &lines] {
                text(report);
                go_json(report);
                junit(report);
            }
        }
    }
}
