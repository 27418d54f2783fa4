//! Properties over random edits: a right reply gives the file that was meant, a spoiled one gives that file or a refusal, never a third thing.

use farm_patch::{Code, Outcome};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use similar::TextDiff;

use crate::files::Files;

const PATH: &str = "src/a.rs";

/// Lines of a made-up program: some stand once, some everywhere.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..40u32, 0..3usize).prop_map(|(n, depth)| format!("{}let v{n} = f({n});", "    ".repeat(depth))),
        2 => (0..3usize).prop_map(|depth| format!("{}}}", "    ".repeat(depth))),
        2 => Just(String::new()),
        1 => (0..4u32).prop_map(|n| format!("    // step {n}")),
        1 => (0..5u32).prop_map(|n| format!("fn g{n}(\u{201c}x\u{201d}, 'y') {{")),
    ]
}

fn lines(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(line(), count)
}

/// One change of a file: at a line, so many lines out, these in.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<String>)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..3usize, lines(0..3)), 1..4)
}

fn edited(before: &[String], changes: &[(prop::sample::Index, usize, Vec<String>)]) -> Vec<String> {
    let mut after = before.to_vec();
    for (at, n_out, new) in changes {
        let at = at.index(after.len() + 1);
        let end = (at + n_out).min(after.len());
        after.splice(at..end, new.iter().cloned());
    }
    after
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn diff(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after)
        .unified_diff()
        .header(&format!("a/{PATH}"), &format!("b/{PATH}"))
        .to_string()
}

/// The ways in which models get a diff wrong.
#[derive(Debug, Clone, Copy)]
enum Spoiler {
    None,
    Numbers(i64),
    Counts,
    BareHeaders,
    TrailingSpace,
    LostSpace,
    Tabs,
    Deeper,
    Shallower,
    Typography,
    PlainPunctuation,
    ForgottenPlus(usize),
    SkippedBlanks,
    Elided,
    CutContext,
    Misquoted(usize),
    NoFence,
    Blocks,
    BeginPatch,
    Json,
}

fn spoiler() -> impl Strategy<Value = Spoiler> {
    prop_oneof![
        Just(Spoiler::None),
        (-30..30i64).prop_map(Spoiler::Numbers),
        Just(Spoiler::Counts),
        Just(Spoiler::BareHeaders),
        Just(Spoiler::TrailingSpace),
        Just(Spoiler::LostSpace),
        Just(Spoiler::Tabs),
        Just(Spoiler::Deeper),
        Just(Spoiler::Shallower),
        Just(Spoiler::Typography),
        Just(Spoiler::PlainPunctuation),
        (0..6usize).prop_map(Spoiler::ForgottenPlus),
        Just(Spoiler::SkippedBlanks),
        Just(Spoiler::Elided),
        Just(Spoiler::CutContext),
        (0..20usize).prop_map(Spoiler::Misquoted),
        Just(Spoiler::NoFence),
        Just(Spoiler::Blocks),
        Just(Spoiler::BeginPatch),
        Just(Spoiler::Json),
    ]
}

fn is_body(line: &str) -> bool {
    line.starts_with([' ', '-', '+']) && !line.starts_with("--- ") && !line.starts_with("+++ ")
}

fn each_body(diff: &str, change: impl Fn(char, &str) -> String) -> String {
    diff.lines()
        .map(|line| if is_body(line) { change(line.chars().next().unwrap(), &line[1..]) } else { line.to_owned() } + "\n")
        .collect()
}

/// Changes the lines of the hunks where an old line shows the change: in new lines alone it could be meant.
fn each_shown(diff: &str, change: impl Fn(&str) -> String) -> String {
    let spoil = |part: &str| {
        let spoiled = each_body(part, |sign, text| format!("{sign}{}", change(text)));
        let shows =
            part.lines().zip(spoiled.lines()).any(|(old, new)| old != new && old.starts_with([' ', '-']));
        if shows { spoiled } else { part.to_owned() }
    };
    diff.split_inclusive(" @@\n").map(spoil).collect()
}

fn each_header(diff: &str, change: impl Fn(&str) -> String) -> String {
    diff.lines()
        .map(|line| if line.starts_with("@@") { change(line) } else { line.to_owned() } + "\n")
        .collect()
}

fn shifted(header: &str, by: i64) -> String {
    let numbers: Vec<i64> = header
        .split(|c: char| !c.is_ascii_digit())
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap())
        .collect();
    let fields: Vec<&str> = header.split(' ').collect();
    let count = |field: &str| field.split_once(',').map_or(String::new(), |(_, count)| format!(",{count}"));
    let new_start = numbers[if fields[1].contains(',') { 2 } else { 1 }];
    let at = |start: i64| (start + by).max(1);
    format!("@@ -{}{} +{}{} @@", at(numbers[0]), count(fields[1]), at(new_start), count(fields[2]))
}

fn sides(hunk: &str) -> (String, String) {
    let side = |drop: char| -> String {
        hunk.lines()
            .filter(|line| is_body(line) && !line.starts_with(drop))
            .map(|line| format!("{}\n", &line[1..]))
            .collect()
    };
    (side('+'), side('-'))
}

fn hunks(diff: &str) -> Vec<String> {
    let mut hunks: Vec<String> = Vec::new();
    for line in diff.lines() {
        if line.starts_with("@@") {
            hunks.push(String::new());
        } else if let Some(hunk) = hunks.last_mut() {
            *hunk += &format!("{line}\n");
        }
    }
    hunks
}

fn spoiled(diff: &str, spoiler: Spoiler) -> String {
    let same = |sign: char, text: &str| format!("{sign}{text}");
    let body = match spoiler {
        Spoiler::None | Spoiler::NoFence => diff.to_owned(),
        Spoiler::Numbers(by) => each_header(diff, |header| shifted(header, by)),
        Spoiler::Counts => each_header(diff, |header| header.replace(',', ",1")),
        Spoiler::BareHeaders => each_header(diff, |_| "@@ ... @@".to_owned()),
        Spoiler::TrailingSpace => {
            each_body(
                diff,
                |sign, text| if sign == '+' { same(sign, text) } else { format!("{sign}{text}  ") },
            )
        }
        Spoiler::LostSpace => {
            each_body(diff, |sign, text| if sign == ' ' { text.to_owned() } else { same(sign, text) })
        }
        Spoiler::Tabs => each_shown(diff, |text| text.replace("    ", "\t")),
        Spoiler::Deeper => {
            each_shown(diff, |text| if text.is_empty() { String::new() } else { format!("  {text}") })
        }
        Spoiler::Shallower => {
            let can = diff
                .lines()
                .all(|line| !is_body(line) || line[1..].is_empty() || line[1..].starts_with("    "));
            each_shown(diff, |text| text.strip_prefix("    ").filter(|_| can).unwrap_or(text).to_owned())
        }
        Spoiler::Typography => each_shown(diff, |text| text.replace('\'', "\u{2019}")),
        // In old lines only: what a new line should look like then, nobody could know.
        Spoiler::PlainPunctuation => each_body(diff, |sign, text| match sign {
            '+' => same(sign, text),
            _ => format!("{sign}{}", text.replace(['\u{201c}', '\u{201d}'], "\"")),
        }),
        Spoiler::ForgottenPlus(nth) => {
            let mut n_seen = 0;
            diff.lines()
                .map(|line| {
                    let added = is_body(line) && line.starts_with('+');
                    n_seen += usize::from(added);
                    if added && n_seen == nth + 1 {
                        format!(" {}\n", &line[1..])
                    } else {
                        format!("{line}\n")
                    }
                })
                .collect()
        }
        // Not between two changes: on which side of the line they stand is then told by nothing.
        Spoiler::SkippedBlanks => {
            let lines: Vec<&str> = diff.lines().collect();
            let changes = |idx: usize| lines.get(idx).is_some_and(|line| line.starts_with(['+', '-']));
            let stays = |idx: &usize| lines[*idx] != " " || changes(idx - 1) && changes(idx + 1);
            (0..lines.len()).filter(stays).map(|idx| format!("{}\n", lines[idx])).collect()
        }
        Spoiler::Elided => diff.replacen("\n \n", "\n ...\n", 1),
        Spoiler::CutContext => {
            let lines: Vec<&str> = diff.lines().collect();
            let outer = |idx: usize| {
                lines[idx - 1].starts_with("@@")
                    && lines[idx].starts_with(' ')
                    && lines[idx + 1].starts_with(' ')
            };
            let stays = |idx: &usize| *idx == 0 || *idx + 1 == lines.len() || !outer(*idx);
            (0..lines.len()).filter(stays).map(|idx| format!("{}\n", lines[idx])).collect()
        }
        Spoiler::Misquoted(nth) => diff
            .lines()
            .enumerate()
            .map(|(idx, line)| {
                if idx == nth + 3 && line.starts_with(' ') {
                    format!("{line} and more\n")
                } else {
                    format!("{line}\n")
                }
            })
            .collect(),
        Spoiler::Blocks => {
            return hunks(diff)
                .iter()
                .map(|hunk| {
                    let (search, replace) = sides(hunk);
                    format!("{PATH}\n```\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n```\n")
                })
                .collect();
        }
        Spoiler::BeginPatch => {
            let body: String = hunks(diff).iter().map(|hunk| format!("@@\n{hunk}")).collect();
            return format!("*** Begin Patch\n*** Update File: {PATH}\n{body}*** End Patch\n");
        }
        Spoiler::Json => {
            let edits: Vec<serde_json::Value> = hunks(diff)
                .iter()
                .map(|hunk| {
                    let (search, replace) = sides(hunk);
                    serde_json::json!({"path": PATH, "search": search, "replace": replace})
                })
                .collect();
            return serde_json::json!({"reasoning": "so", "edits": edits}).to_string();
        }
    };
    match spoiler {
        Spoiler::NoFence => format!("Here is the change:\n\n{body}\nThat is all.\n"),
        _ => format!("Here is the change:\n\n```diff\n{body}```\n"),
    }
}

/// The same 2,000 cases every time; a search for new ones sets `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let standard = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => standard,
        None => ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(7), ..standard },
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_exact_diff_gives_the_file_that_was_meant(
        before in lines(0..40), changes in changes(), before_ends: bool, after_ends: bool,
    ) {
        let mut after = joined(&edited(&before, &changes));
        let mut before = joined(&before);
        if !before_ends { before.pop(); }
        if !after_ends { after.pop(); }
        if before == after || before.is_empty() || after.is_empty() { return Ok(()) }
        let files = Files::of(&[(PATH, &before)]);
        let diff = diff(&before, &after);
        let outcome = files.apply(&diff).map_err(|refusal| TestCaseError::fail(format!("{diff}\n{}", refusal.describe())))?;
        prop_assert_eq!(files.after(&outcome).text(PATH), after, "{}", diff);
    }

    #[test]
    fn a_spoiled_reply_gives_the_file_that_was_meant_or_a_refusal(
        before in lines(4..60), changes in changes(), spoiler in spoiler(),
    ) {
        let (before, after) = (joined(&before), joined(&edited(&before, &changes)));
        if before == after { return Ok(()) }
        let files = Files::of(&[(PATH, &before)]);
        let reply = spoiled(&diff(&before, &after), spoiler);
        let Ok(outcome) = files.apply(&reply) else { return Ok(()) };
        let how = |outcome: &Outcome| match outcome {
            Outcome::Applied(patch) => format!("{:?}", patch.files[0].hunks),
            Outcome::Unchanged(paths) => format!("{paths:?}"),
        };
        let have = files.after(&outcome);
        prop_assert_eq!(have.text(PATH), after, "{:?}\n{}\n--before--\n{:?}", reply, how(&outcome), before);
        // Applying twice is applying once.
        if let Ok(again) = have.apply(&reply) {
            prop_assert_eq!(have.after(&again).text(PATH), have.text(PATH), "twice: {:?}\n{}\n--before--\n{}", reply, how(&again), before);
        }
    }

    #[test]
    fn no_text_makes_the_engine_panic(
        parts in prop::collection::vec(prop_oneof![
            "[a-z \n]{0,12}", Just("\n".to_owned()), Just("@@ -1,2 +1 @@\n".to_owned()), Just("@@\n".to_owned()), Just("--- a/x\n".to_owned()),
            Just("+++ b/x\n".to_owned()), Just("diff --git a/x b/x\n".to_owned()), Just("```diff\n".to_owned()), Just("```\n".to_owned()),
            Just("<<<<<<< SEARCH\n".to_owned()), Just("=======\n".to_owned()), Just(">>>>>>> REPLACE\n".to_owned()), Just("x\n".to_owned()),
            Just("*** Begin Patch\n".to_owned()), Just("*** Update File: x\n".to_owned()), Just("*** End Patch\n".to_owned()),
            Just("+a\n".to_owned()), Just("-a\n".to_owned()), Just(" a\n".to_owned()), Just("\\ No newline\n".to_owned()), Just("é\u{2019}".to_owned()),
            Just("{\"edits\":[{\"path\":\"x\",\"search\":\"a\",\"replace\":\"b\"}]}\n".to_owned()), Just("...\n".to_owned()), Just("\"".to_owned()),
            Just("rename from x\n".to_owned()), Just("new file mode 100644\n".to_owned()), Just("*** End of File\n".to_owned()),
        ], 0..30),
        file in "[a\n é\u{2019}]{0,20}",
    ) {
        let files = Files::of(&[("x", &file)]);
        match files.apply(&parts.concat()) {
            Ok(Outcome::Applied(patch)) => prop_assert!(!patch.files.is_empty()),
            Ok(Outcome::Unchanged(paths)) => prop_assert!(!paths.is_empty()),
            Err(refusal) => prop_assert!(Code::ALL.contains(&refusal.code) && !refusal.message.is_empty()),
        }
    }
}
