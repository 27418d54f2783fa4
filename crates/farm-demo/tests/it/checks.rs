//! A sample's checks, run as plain commands.

use std::path::Path;
use std::process::Command;

use farm_core::task::Check;

/// The checks that `patchfarm.toml` names.
pub(crate) fn of(tree: &Path) -> Vec<Check> {
    let text = std::fs::read_to_string(tree.join("patchfarm.toml")).unwrap();
    let mut file: toml::Table = toml::from_str(&text).unwrap();
    file.remove("check").unwrap().try_into().unwrap()
}

/// The names of the checks that fail, with what they printed.
pub(crate) fn failures(tree: &Path) -> Vec<(String, String)> {
    of(tree)
        .into_iter()
        .filter_map(|check| failure(tree, &check.argv).map(|said| (check.name, said)))
        .collect()
}

/// What a command printed if it failed.
pub(crate) fn failure(tree: &Path, argv: &[String]) -> Option<String> {
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .current_dir(tree)
        // Else the sample would be built into the folder, and wait for the lock, of the build that runs this test.
        .env_remove("CARGO_TARGET_DIR")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}
