//! `config show`.

use serde_json::json;

use crate::cli::Output;
use crate::failure::Outcome;
use crate::program::Program;
use crate::verbs::print_list;

/// Prints every setting with its origin.
pub(crate) fn show(program: &Program, output: &Output) -> Outcome {
    let rows: Vec<_> = program
        .settings
        .rows()
        .into_iter()
        .map(|[key, value, origin, help]| json!({ "key": key, "value": value, "origin": origin, "help": help }))
        .collect();
    print_list(output.form, &rows, &[("key", "key"), ("value", "value"), ("origin", "origin"), ("", "help")])
}
