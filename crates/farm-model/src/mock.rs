//! The model that is none: deterministic replies that the rest of the farm treats as any other's.

use serde_json::json;

use crate::prompt;

/// Lines of a file that a search quotes at least; more where that is needed to name one place.
const LEAST_LINES: usize = 3;

/// Answers a prompt of [`crate::prompt`] in a role.
pub(crate) fn reply(role: &str, prompt: &str) -> String {
    match role {
        "coder" => edit(prompt),
        "planner" => plan(prompt),
        _ => "The mock model has no objection.".to_owned(),
    }
}

/// Appends one harmless line to the task's file or, if it names none, to the README; to a file of its own if neither is shown.
fn edit(prompt: &str) -> String {
    let files = prompt::files_of(prompt);
    let wanted = |path: &str| match prompt::path_of(prompt) {
        Some(asked) => path == asked,
        None => path.rsplit('/').next().is_some_and(|name| name.to_ascii_lowercase().starts_with("readme")),
    };
    let goal = goal_words(prompt);
    // The last piece shown of a file is nearest to its end.
    let shown = files.iter().rfind(|(path, text)| wanted(path) && !text.trim().is_empty());
    let (edits, new_files) = match shown {
        Some((path, text)) => {
            let search = tail(text);
            (
                vec![
                    json!({"path": path, "search": search, "replace": format!("{search}{}\n", line(path, &goal))}),
                ],
                vec![],
            )
        }
        None => {
            let path = match prompt::path_of(prompt) {
                Some(path) if !files.iter().any(|(shown, _)| *shown == path) => path.to_owned(),
                _ => format!("mock-{}.md", &farm_core::delta::sha256(goal.as_bytes())[..8]),
            };
            (vec![], vec![json!({"content": format!("{}\n", line(&path, &goal)), "path": path})])
        }
    };
    json!({
        "edits": edits,
        "files": new_files,
        "reasoning": "The mock model appends one harmless line.",
        "testCommands": [],
    })
    .to_string()
}

fn plan(prompt: &str) -> String {
    let goal =
        prompt::goal_of(prompt).and_then(|goal| goal.split_once('\n')).map_or("do it", |(_, goal)| goal);
    json!({
        "tasks": [{"id": "mock", "goal": goal, "path": null, "after": []}],
        "reasoning": "The mock model makes one task of every goal.",
    })
    .to_string()
}

/// The last lines of `text`, as many as it takes to stand in it once.
fn tail(text: &str) -> &str {
    let starts = text.match_indices('\n').map(|(newline, _)| newline + 1).filter(|start| *start < text.len());
    let mut starts: Vec<usize> = std::iter::once(0).chain(starts).collect();
    starts.reverse();
    let tails = starts.into_iter().map(|start| &text[start..]);
    tails.skip(LEAST_LINES - 1).find(|tail| text.match_indices(tail).count() == 1).unwrap_or(text)
}

/// A comment in the language of `path`; an empty line where none is known.
fn line(path: &str, goal: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let words = format!("mock change: {goal}");
    match suffix.to_ascii_lowercase().as_str() {
        "md" | "markdown" | "html" | "xml" => format!("<!-- {words} -->"),
        "c" | "cc" | "cpp" | "cs" | "go" | "h" | "java" | "js" | "kt" | "proto" | "rs" | "swift" | "ts"
        | "tsx" => {
            format!("// {words}")
        }
        "py" | "sh" | "rb" | "toml" | "yaml" | "yml" | "cfg" | "conf" => format!("# {words}"),
        "sql" | "lua" => format!("-- {words}"),
        "txt" | "rst" | "adoc" => words,
        "" if name.to_ascii_lowercase().starts_with("readme") => words,
        _ => String::new(),
    }
}

/// The goal's first words, safe in every comment.
fn goal_words(prompt: &str) -> String {
    let goal = prompt::goal_of(prompt).and_then(|goal| goal.split_once('\n')).map_or("", |(_, goal)| goal);
    let plain: String = goal.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
    plain.split_whitespace().take(8).collect::<Vec<_>>().join(" ")
}
