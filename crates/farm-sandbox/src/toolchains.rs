//! Compilers and interpreters outside `/usr`, shown to commands without the home folders around them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::command::Mount;

/// What of the worker's environment a tool may need to say where it lives. Not the rest, which holds credentials.
const ASKED_WITH: [&str; 9] = [
    "PATH",
    "HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_HOME",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "VIRTUAL_ENV",
    "GOROOT",
];

/// What every command of a sandbox sees besides the system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchains {
    pub mounts: Vec<Mount>,
    /// Comes before the system's folders on `PATH`.
    pub path: Vec<PathBuf>,
    pub env: BTreeMap<OsString, OsString>,
}

impl Toolchains {
    /// Finds Rust, Python, Node and Go on the `PATH` in `env`, and asks each where it lives.
    ///
    /// Only their own folders are mounted, read-only and at the same place, never a home folder and never what holds
    /// credentials (`~/.cargo/credentials.toml`, `~/.cargo/config.toml`). What is not installed is left out.
    pub async fn discover(env: &BTreeMap<OsString, OsString>) -> Toolchains {
        let finder = Finder { env };
        let (rust, python, node, go) = tokio::join!(
            finder.ask("rustc", &["--print", "sysroot"]),
            finder.ask(
                "python3",
                &["-c", "import sys\nfor p in sys.executable, sys.prefix, sys.base_prefix: print(p)"]
            ),
            finder.ask("node", &["-p", "process.execPath"]),
            finder.ask("go", &["env", "GOROOT"]),
        );
        let mut toolchains = Toolchains::default();
        if let Some(answer) = rust {
            toolchains.add_rust(env, &answer);
        }
        if let Some([executable, prefixes @ ..]) = python.as_ref().map(|answer| answer.lines.as_slice()) {
            for prefix in prefixes {
                toolchains.mount(env, prefix);
            }
            toolchains.search(executable.parent());
        }
        if let Some([executable, ..]) = node.as_ref().map(|answer| answer.lines.as_slice()) {
            // PREFIX/bin/node, with npm in PREFIX/lib.
            if let Some(prefix) = executable.ancestors().nth(2) {
                toolchains.mount(env, prefix);
            }
            toolchains.search(executable.parent());
        }
        if let Some([root, ..]) = go.as_ref().map(|answer| answer.lines.as_slice()) {
            toolchains.mount(env, root);
            toolchains.search(Some(&root.join("bin")));
            toolchains.env.extend([("GOTOOLCHAIN".into(), "local".into()), ("GOPROXY".into(), "off".into())]);
        }
        toolchains
    }

    fn add_rust(&mut self, env: &BTreeMap<OsString, OsString>, answer: &Answer) {
        let Some(sysroot) = answer.lines.first() else { return };
        let shims = answer.found_in.join("rustup").exists().then_some(&answer.found_in);
        let rustup_home =
            sysroot.parent().filter(|parent| parent.ends_with("toolchains")).and_then(Path::parent);
        let (Some(shims), Some(rustup_home)) = (shims, rustup_home) else {
            self.mount(env, sysroot);
            self.search(Some(&sysroot.join("bin")));
            return;
        };
        // All toolchains, so that a repository's rust-toolchain.toml finds the one that it names, if it is installed.
        self.mount(env, &rustup_home.join("toolchains"));
        self.mount(env, &rustup_home.join("settings.toml"));
        self.mount(env, shims);
        self.search(Some(shims));
        self.env.insert("RUSTUP_HOME".into(), rustup_home.into());
        self.env.insert("RUSTUP_AUTO_INSTALL".into(), "0".into());
    }

    fn mount(&mut self, env: &BTreeMap<OsString, OsString>, path: &Path) {
        let home = env.get(OsStr::new("HOME")).map(Path::new);
        let too_much = !path.is_absolute()
            || path.components().count() < 3
            || home.is_some_and(|home| home.starts_with(path))
            || path.starts_with("/etc");
        if path.starts_with("/usr") || !path.exists() || self.mounts.iter().any(|mount| mount.host == path) {
            return;
        }
        if too_much {
            tracing::warn!(path = %path.display(), "a toolchain is not mounted: that would show more than itself");
            return;
        }
        self.mounts.push(Mount::same(path));
    }

    fn search(&mut self, folder: Option<&Path>) {
        let Some(folder) = folder else { return };
        let is_system =
            ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|system| folder == Path::new(system));
        if !is_system && !self.path.iter().any(|known| known == folder) {
            self.path.push(folder.to_path_buf());
        }
    }
}

/// What a tool said.
struct Answer {
    found_in: PathBuf,
    lines: Vec<PathBuf>,
}

struct Finder<'env> {
    env: &'env BTreeMap<OsString, OsString>,
}

impl Finder<'_> {
    async fn ask(&self, program: &str, args: &[&str]) -> Option<Answer> {
        let path = self.env.get(OsStr::new("PATH"))?;
        let found_in = std::env::split_paths(path)
            .find(|folder| folder.is_absolute() && folder.join(program).is_file())?;
        let env = ASKED_WITH.iter().filter_map(|name| Some((*name, self.env.get(OsStr::new(name))?)));
        let asked = tokio::process::Command::new(found_in.join(program))
            .args(args)
            .env_clear()
            .envs(env)
            // Not where a rust-toolchain.toml or .python-version could answer.
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(Duration::from_secs(10), asked).await {
            Ok(Ok(output)) if output.status.success() => output,
            failed => {
                tracing::warn!(program, ?failed, "a toolchain does not say where it lives and is left out");
                return None;
            }
        };
        let text = String::from_utf8(output.stdout).ok()?;
        Some(Answer { found_in, lines: text.lines().map(PathBuf::from).collect() })
    }
}
