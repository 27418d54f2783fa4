//! `patch apply` (DESIGN §9, exact): a raw reply, applied once and right, or refused.

use std::io::{BufRead, Read};
use std::path::{Component, Path, PathBuf};

use farm_core::id::Oid;
use farm_git::objects::{FileWrite, Objects};
use farm_patch::{File, FileChange, Limits, Mode, Op, Outcome as Applied, Patch, Refusal, Request, Source};
use farm_worker::attempt::writes_of;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::PatchApply;
use crate::failure::{Failure, Outcome, exit};
use crate::output::{Form, plain, say, tell};

/// The largest file that is read for a patch, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Runs the verb.
pub(crate) fn run(apply: &PatchApply) -> Outcome {
    let target = Target::open(apply);
    if apply.batch {
        return batch(apply, &target);
    }
    let rev = apply.rev.as_deref().unwrap_or("HEAD");
    let answer = match reply(apply) {
        Ok(reply) => once(&target, rev, &reply, apply.path.as_deref(), apply.dry_run),
        Err(error) => error_answer(&error.message),
    };
    print(apply, &answer);
    let good = matches!(answer["status"].as_str(), Some("applied" | "unchanged"));
    if good { Ok(()) } else { Err(Failure::new(exit::FAILURE, "")) }
}

fn reply(apply: &PatchApply) -> Outcome<String> {
    let mut bytes = Vec::new();
    match apply.input.as_str() {
        "-" => std::io::stdin().read_to_end(&mut bytes)?,
        path => std::fs::File::open(path)?.read_to_end(&mut bytes)?,
    };
    String::from_utf8(bytes).map_err(|_| Failure::new(exit::FAILURE, "expected a reply in UTF-8"))
}

#[derive(Deserialize)]
struct BatchLine {
    rev: String,
    reply: String,
    path: Option<String>,
}

/// One answer a line, whatever the line holds; a bad line ends nothing.
fn batch(apply: &PatchApply, target: &Outcome<Target>) -> Outcome {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match serde_json::from_str::<BatchLine>(&line) {
            Ok(line) => once(target, &line.rev, &line.reply, line.path.as_deref(), apply.dry_run),
            Err(error) => error_answer(&format!("expected an object with `rev` and `reply`: {error}")),
        };
        say(&answer.to_string());
    }
    Ok(())
}

fn once(target: &Outcome<Target>, rev: &str, reply: &str, path: Option<&str>, dry_run: bool) -> Value {
    let done = match target {
        Ok(Target::Repository(objects)) => in_repository(objects, rev, reply, path, dry_run),
        Ok(Target::Folder(dir)) => in_folder(dir, reply, path, dry_run),
        Err(failure) => return error_answer(&failure.message),
    };
    done.unwrap_or_else(|failure| error_answer(&failure.message))
}

fn error_answer(message: &str) -> Value {
    json!({ "status": "error", "message": message })
}

fn refused(refusal: &Refusal) -> Value {
    let mut answer = serde_json::to_value(refusal).unwrap_or_default();
    answer["status"] = "refused".into();
    answer["file"] = json!(refusal.file);
    answer["hunk"] = json!(refusal.hunk);
    answer
}

fn files(patch: &Patch) -> Value {
    let file = |file: &FileChange| {
        json!({
            "path": file.path, "op": file.op.as_str(), "tier": file.tier().as_str(), "offset": file.offset(),
        })
    };
    patch.files.iter().map(file).collect()
}

fn print(apply: &PatchApply, answer: &Value) {
    if apply.explain {
        explain(answer);
    }
    match apply.output.form {
        Form::Json | Form::Jsonl => say(&answer.to_string()),
        Form::Table => say(&plain(&crate::verbs::cell(answer, "status"))),
    }
}

/// In words, for people: what was forgiven, or why nothing was applied.
fn explain(answer: &Value) {
    for file in answer["files"].as_array().into_iter().flatten() {
        let tier: Option<farm_patch::Tier> = serde_json::from_value(file["tier"].clone()).ok();
        let words = tier.map_or("", farm_patch::Tier::explain);
        let (path, op) = (&file["path"], &file["op"]);
        let (path, op) = (path.as_str().unwrap_or_default(), op.as_str().unwrap_or_default());
        tell(&plain(&format!("{path}: {op}; {words}, {} lines from where it was stated", file["offset"])));
    }
    if let Some(message) = answer["message"].as_str() {
        let file = answer["file"].as_str().map(|file| format!("{file}: ")).unwrap_or_default();
        tell(&plain(&format!("{file}{message}; {}", answer["hint"].as_str().unwrap_or_default())));
    }
}

/// What replies are applied to; opened once for all of a batch.
enum Target {
    Repository(Objects),
    Folder(PathBuf),
}

impl Target {
    fn open(apply: &PatchApply) -> Outcome<Target> {
        match (&apply.repo, &apply.dir) {
            (Some(repo), _) => Ok(Target::Repository(Objects::open(repo)?)),
            (None, Some(dir)) => Ok(Target::Folder(dir.clone())),
            (None, None) => Err(Failure::new(exit::USAGE, "expected --repo or --dir")),
        }
    }
}

struct Base<'a> {
    objects: &'a Objects,
    tree: Oid,
}

impl Source for Base<'_> {
    fn read(&self, path: &str) -> Option<File> {
        let blob = self.objects.read(&self.tree, &path.into(), MAX_FILE_BYTES).ok().flatten()?;
        Some(File { content: blob.content.unwrap_or_default(), mode: Mode::from_bits(blob.mode.bits()) })
    }
}

/// Checks nothing out: writes objects, prints the tree.
fn in_repository(
    objects: &Objects,
    rev: &str,
    reply: &str,
    path: Option<&str>,
    dry_run: bool,
) -> Outcome<Value> {
    let tree = objects.tree_of(&objects.resolve(rev)?)?;
    let base = Base { objects, tree };
    let patch = match farm_patch::apply(&Request { reply, path, limits: Limits::default() }, &base) {
        Ok(Applied::Applied(patch)) => patch,
        Ok(Applied::Unchanged(_)) => return Ok(json!({ "status": "unchanged", "tree": base.tree })),
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let files = files(&patch);
    if dry_run {
        return Ok(json!({ "status": "applied", "tree": null, "files": files }));
    }
    let writes: Vec<FileWrite> = patch.files.into_iter().flat_map(writes_of).collect();
    let tree = base.objects.apply(&base.tree, &writes)?;
    Ok(json!({ "status": "applied", "tree": tree, "files": files }))
}

struct Folder<'a>(&'a Path);

impl Folder<'_> {
    /// The path below the folder; `None` if it leads out of it or through a link.
    fn below(&self, path: &str) -> Option<PathBuf> {
        let mut full = self.0.to_owned();
        for part in Path::new(path).components() {
            let Component::Normal(name) = part else { return None };
            if std::fs::symlink_metadata(&full).is_ok_and(|meta| meta.file_type().is_symlink())
                && full != self.0
            {
                return None;
            }
            full.push(name);
        }
        Some(full)
    }
}

impl Source for Folder<'_> {
    fn read(&self, path: &str) -> Option<File> {
        use std::os::unix::fs::PermissionsExt;
        let full = self.below(path)?;
        let meta = std::fs::symlink_metadata(&full).ok()?;
        if meta.file_type().is_symlink() {
            return Some(File { content: Vec::new(), mode: Mode::Other(Mode::LINK) });
        }
        if !meta.is_file() || meta.len() > MAX_FILE_BYTES {
            return None;
        }
        let mode = if meta.permissions().mode() & 0o111 != 0 { Mode::Executable } else { Mode::Regular };
        Some(File { content: std::fs::read(&full).ok()?, mode })
    }
}

/// Edits in place: everything is computed and written beside its place first, then moved there.
fn in_folder(dir: &Path, reply: &str, path: Option<&str>, dry_run: bool) -> Outcome<Value> {
    let folder = Folder(dir);
    let patch = match farm_patch::apply(&Request { reply, path, limits: Limits::default() }, &folder) {
        Ok(Applied::Applied(patch)) => patch,
        Ok(Applied::Unchanged(_)) => return Ok(json!({ "status": "unchanged", "tree": null })),
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let answer = json!({ "status": "applied", "tree": null, "files": files(&patch) });
    if !dry_run {
        write_all(&folder, &patch)?;
    }
    Ok(answer)
}

/// What the file had, so that a private file stays private; a new one, or one whose mode changes, what git gives it.
fn permissions(place: &Path, mode: Mode) -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    let executable = mode == Mode::Executable;
    match std::fs::symlink_metadata(place).map(|meta| meta.permissions()) {
        Ok(old) if (old.mode() & 0o111 != 0) == executable => old,
        Ok(_) | Err(_) => std::fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }),
    }
}

fn write_all(folder: &Folder<'_>, patch: &Patch) -> Outcome {
    let leads_out = |path: &str| Failure::new(exit::FAILURE, format!("{path} leads out of the folder"));
    let mut staged: Vec<(tempfile::NamedTempFile, PathBuf)> = Vec::new();
    let mut removed = Vec::new();
    for file in &patch.files {
        let place = folder.below(&file.path).ok_or_else(|| leads_out(&file.path))?;
        if let (Op::Rename, Some(from)) = (file.op, &file.from) {
            removed.push(folder.below(from).ok_or_else(|| leads_out(from))?);
        }
        let Some(content) = &file.content else {
            removed.push(place);
            continue;
        };
        let parent = place.parent().unwrap_or(folder.0);
        std::fs::create_dir_all(parent)?;
        let beside = tempfile::Builder::new().prefix(".patchfarm-").tempfile_in(parent)?;
        std::fs::write(beside.path(), content)?;
        std::fs::set_permissions(beside.path(), permissions(&place, file.mode))?;
        staged.push((beside, place));
    }
    for (beside, place) in staged {
        beside.persist(&place).map_err(|error| Failure::new(exit::FAILURE, error.to_string()))?;
    }
    for path in removed {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
