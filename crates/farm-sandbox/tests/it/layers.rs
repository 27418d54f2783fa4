//! One contract for both kinds of workspace, overlay and copy.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use farm_sandbox::{ChangeKind, EntryKind, Workspace, WorkspaceError};

use crate::support::Bench;

/// Runs a case over an overlay and over a copy.
async fn both(case: impl AsyncFn(&Bench)) {
    let overlaid = Bench::new().await;
    assert!(
        overlaid.sandbox.overlay(),
        "this kernel and file system must offer overlays for the test to mean anything"
    );
    let copied = Bench::with(|settings| farm_sandbox::Settings { overlay: false, ..settings }).await;
    assert!(!copied.sandbox.overlay());
    for bench in [overlaid, copied] {
        for (path, content) in [
            ("file", "1\n"),
            ("dir/a", "a\n"),
            ("dir/b", "b\n"),
            ("dir/sub/c", "c\n"),
            ("run", "#!/bin/sh\n"),
        ] {
            bench.write(path, content);
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bench.lower.join("run"), mode).unwrap();
        std::os::unix::fs::symlink("file", bench.lower.join("link")).unwrap();
        let before = snapshot(&bench.lower);
        case(&bench).await;
        assert_eq!(snapshot(&bench.lower), before, "the shared tree was changed");
    }
}

/// Everything about a tree that must not change.
fn snapshot(dir: &Path) -> Vec<(PathBuf, String, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        let content = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        let facts =
            format!("{:o} {} {} {} {}", meta.mode(), meta.uid(), meta.nlink(), meta.mtime_nsec(), meta.ino());
        found.push((path.clone(), facts, content));
        if meta.is_dir() {
            found.extend(snapshot(&path));
        }
    }
    found.sort();
    found
}

/// Writes changes the way the expectations below are written: `+ path`, `M path`, `- path`, with `x` for executables,
/// `@` for links, `?` for what is neither.
async fn changes(workspace: &Workspace) -> Vec<String> {
    let changes = workspace.changes().await.unwrap();
    changes
        .iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Added => '+',
                ChangeKind::Modified => 'M',
                ChangeKind::Deleted => '-',
            };
            let entry = match change.entry {
                EntryKind::File { executable: false } => "",
                EntryKind::File { executable: true } => "x",
                EntryKind::Symlink => "@",
                EntryKind::Other => "?",
            };
            format!("{kind}{entry} {}", change.path.display())
        })
        .collect()
}

#[tokio::test]
async fn what_commands_do_is_listed() {
    let cases: &[(&str, &[&str])] = &[
        ("true", &[]),
        ("echo new > new; mkdir -p x/y; echo z > x/y/z", &["+ new", "+ x/y/z"]),
        ("mkdir -p empty/dir", &[]),
        ("echo 2 >> file", &["M file"]),
        ("touch file; touch -d 2001-01-01 dir/a; chmod 600 dir/b; chmod 640 dir/b", &[]),
        ("cat file > t; cat t > file; rm t", &[]),
        ("printf '2\\n' > file", &["M file"]),
        ("chmod +x file; chmod -x run", &["Mx file", "M run"]),
        ("rm file dir/a", &["- dir/a", "- file"]),
        ("rm -r dir", &["- dir/a", "- dir/b", "- dir/sub/c"]),
        ("mv file moved", &["- file", "+ moved"]),
        ("mv dir gone", &["- dir/a", "- dir/b", "- dir/sub/c", "+ gone/a", "+ gone/b", "+ gone/sub/c"]),
        ("mv dir gone; mv gone dir", &[]),
        ("rm -r dir; mkdir dir; echo b > dir/b; echo d > dir/d", &["- dir/a", "+ dir/d", "- dir/sub/c"]),
        ("rm -r dir; echo dir > dir", &["+ dir", "- dir/a", "- dir/b", "- dir/sub/c"]),
        ("rm -r dir/sub; ln -s .. dir/sub", &["+@ dir/sub", "- dir/sub/c"]),
        ("rm file; mkdir file; echo 1 > file/in", &["- file", "+ file/in"]),
        ("rm file; mkdir file", &["- file"]),
        ("rm file; ln -s /etc/passwd file", &["M@ file"]),
        ("rm link; echo x > link", &["M link"]),
        ("rm link; ln -s dir link", &["M@ link"]),
        ("rm link; ln -s file link", &[]),
        ("rm link", &["-@ link"]),
        ("ln file hard; echo 2 >> hard", &["M file", "+ hard"]),
        ("mkfifo pipe; rm file; mkfifo file", &["M? file", "+? pipe"]),
        ("echo x > 'a b'; echo y > '-n'; echo z > '..x'", &["+ -n", "+ ..x", "+ a b"]),
        ("rm run; cp file run", &["M run"]),
        ("sed -i s/1/2/ file && sed -i s/2/1/ file", &[]),
    ];
    both(async |bench| {
        for (script, expected) in cases {
            let workspace = bench.workspace().await;
            bench.ok(&format!("set -e; {script}"), &workspace).await;
            let mut expected: Vec<String> = expected.iter().map(|line| line.to_string()).collect();
            let mut listed = changes(&workspace).await;
            assert!(listed.is_sorted_by_key(|line| line.split_once(' ').unwrap().1.to_owned()), "{listed:?}");
            expected.sort();
            listed.sort();
            assert_eq!(listed, expected, "{script}, overlay: {}", bench.sandbox.overlay());
            workspace.remove().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn changes_add_up_over_commands() {
    both(async |bench| {
        let workspace = bench.workspace().await;
        bench.ok("echo 2 > file; rm -r dir", &workspace).await;
        bench.ok("[ ! -e dir ] && mkdir dir && echo a > dir/a && grep 2 file", &workspace).await;
        assert_eq!(changes(&workspace).await, ["- dir/b", "- dir/sub/c", "M file"]);
        bench.ok("echo 1 > file", &workspace).await;
        assert_eq!(changes(&workspace).await, ["- dir/b", "- dir/sub/c"]);
    })
    .await;
}

#[tokio::test]
async fn workspaces_over_one_tree_do_not_see_each_other() {
    both(async |bench| {
        let (one, two) = (bench.workspace().await, bench.workspace().await);
        bench.ok("echo one > file", &one).await;
        assert_eq!(bench.ok("cat file", &two).await, "1\n");
        assert_eq!(changes(&two).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn names_that_are_no_text_survive() {
    both(async |bench| {
        let workspace = bench.workspace().await;
        let name = OsStr::from_bytes(b"caf\xe9 \n\x01");
        workspace.put(Path::new("dir").join(name), b"x".to_vec(), 0o644).await.unwrap();
        bench.ok("cp dir/caf* \"$(printf 'b\\377')\"", &workspace).await;
        let paths: Vec<_> =
            workspace.changes().await.unwrap().into_iter().map(|change| change.path).collect();
        assert_eq!(paths, [PathBuf::from(OsStr::from_bytes(b"b\xff")), Path::new("dir").join(name)]);
        assert_eq!(workspace.read(&paths[0], 10).await.unwrap(), b"x");
    })
    .await;
}

#[tokio::test]
async fn laid_files_are_what_commands_see() {
    const LIST: &str = "find . -mindepth 1 | LC_ALL=C sort";
    both(async |bench| {
        let workspace = bench.workspace().await;
        let put = async |path: &str, text: &str, mode| workspace.put(path, text.into(), mode).await.unwrap();

        put("file", "2\n", 0o644).await;
        put("new/deep/run", "#!/bin/sh\necho ran\n", 0o755).await;
        assert_eq!(bench.ok("cat file; new/deep/run", &workspace).await, "2\nran\n");

        // A file where a folder was, and a folder where a file was.
        workspace.delete("dir").await.unwrap();
        put("dir", "now a file", 0o644).await;
        workspace.delete("file").await.unwrap();
        put("file/in", "x", 0o644).await;
        let expected = "./dir\n./file\n./file/in\n./link\n./new\n./new/deep\n./new/deep/run\n./run\n";
        assert_eq!(bench.ok(LIST, &workspace).await, expected);

        // And back: what was there before does not show again.
        workspace.delete("dir").await.unwrap();
        put("dir/b", "b\n", 0o644).await;
        workspace.delete("file/in").await.unwrap();
        workspace.delete("file").await.unwrap();
        put("file", "1\n", 0o644).await;
        workspace.delete("new").await.unwrap();
        assert_eq!(bench.ok(LIST, &workspace).await, "./dir\n./dir/b\n./file\n./link\n./run\n");
        assert_eq!(changes(&workspace).await, ["- dir/a", "- dir/sub/c"]);

        // Over a folder at once.
        put("dir", "file again", 0o644).await;
        assert_eq!(bench.ok("cat dir", &workspace).await, "file again");
        // Commands may write what was laid, and the folders made for it.
        put("m/n/o", "laid", 0o644).await;
        bench.ok("echo more >> m/n/o; echo x > m/n/p; rm dir", &workspace).await;
        assert_eq!(workspace.read("m/n/o", 100).await.unwrap(), b"laidmore\n");
        // The mode counts, and nothing beyond it.
        put("setuid", "", 0o104_755).await;
        assert_eq!(bench.ok("stat -c %a setuid", &workspace).await, "755\n");
    })
    .await;
}

#[tokio::test]
async fn reading_sees_what_commands_see() {
    both(async |bench| {
        let workspace = bench.workspace().await;
        let read = async |path: &str| workspace.read(path, 100).await;
        assert_eq!(read("dir/sub/c").await.unwrap(), b"c\n");
        bench
            .ok(
                "echo 2 > file; rm -r dir/sub; rm dir/a; mkdir dir/sub; echo d > dir/sub/d; mkfifo pipe",
                &workspace,
            )
            .await;
        assert_eq!(read("file").await.unwrap(), b"2\n");
        assert_eq!(read("./dir//sub/d").await.unwrap(), b"d\n");
        assert_eq!(read("dir/b").await.unwrap(), b"b\n");
        for absent in ["dir/a", "dir/sub/c", "no", "no/such", "file/x"] {
            let error = read(absent).await.unwrap_err();
            assert!(matches!(error, WorkspaceError::NotFound { .. }), "{absent}: {error}");
            let error = workspace.delete(absent).await.unwrap_err();
            assert!(matches!(error, WorkspaceError::NotFound { .. }), "{absent}: {error}");
        }
        for other in ["dir", "pipe", "link"] {
            assert!(matches!(read(other).await.unwrap_err(), WorkspaceError::NotAFile { .. }), "{other}");
        }
        assert!(matches!(workspace.read("dir/b", 1).await.unwrap_err(), WorkspaceError::TooLarge { .. }));
        assert_eq!(workspace.read("dir/b", 2).await.unwrap(), b"b\n");
        for invalid in ["", ".", "..", "/file", "dir/../file", "../x", "a\0b"] {
            assert!(
                matches!(read(invalid).await.unwrap_err(), WorkspaceError::InvalidPath { .. }),
                "{invalid}"
            );
            let error = workspace.put(invalid, Vec::new(), 0o644).await.unwrap_err();
            assert!(matches!(error, WorkspaceError::InvalidPath { .. }), "{invalid}");
        }
        let error = workspace.put("file/below", Vec::new(), 0o644).await.unwrap_err();
        assert!(matches!(error, WorkspaceError::NotAFolder { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn no_link_is_ever_followed() {
    both(async |bench| {
        let outside = bench.dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "hidden").unwrap();
        let target = outside.to_str().unwrap();
        let workspace = bench.workspace().await;
        bench
            .ok(
                &format!(
                    "ln -s {target} folder; ln -s {target}/secret leaf; ln -s {target}/new fresh; rm -r dir/sub; \
                     ln -s {target} dir/sub; ln -s ../../../.. /work/scratch/up; ln -s {target}/secret /work/scratch/leaf"
                ),
                &workspace,
            )
            .await;

        for through in ["folder/secret", "dir/sub/secret"] {
            let error = workspace.read(through, 100).await.unwrap_err();
            assert!(matches!(error, WorkspaceError::ThroughLink { .. }), "{through}: {error}");
            let error = workspace.put(through, b"x".to_vec(), 0o644).await.unwrap_err();
            assert!(matches!(error, WorkspaceError::ThroughLink { .. }), "{through}: {error}");
            let error = workspace.delete(through).await.unwrap_err();
            assert!(matches!(error, WorkspaceError::ThroughLink { .. }), "{through}: {error}");
        }
        assert!(matches!(workspace.read("leaf", 100).await.unwrap_err(), WorkspaceError::NotAFile { .. }));
        workspace.read_scratch("up/etc/passwd", 1000).await.unwrap_err();
        workspace.read_scratch("leaf", 1000).await.unwrap_err();
        let expected = ["+@ dir/sub", "- dir/sub/c", "+@ folder", "+@ fresh", "+@ leaf"];
        assert_eq!(changes(&workspace).await, expected);

        // A link at the path itself is replaced.
        workspace.put("leaf", b"mine".to_vec(), 0o644).await.unwrap();
        workspace.put("fresh", b"mine".to_vec(), 0o644).await.unwrap();
        workspace.put("folder", b"mine".to_vec(), 0o644).await.unwrap();
        workspace.delete("dir/sub").await.unwrap();
        // One of the shared tree, too.
        workspace.put("link", b"mine".to_vec(), 0o644).await.unwrap();
        assert_eq!(workspace.read("file", 10).await.unwrap(), b"1\n");
        bench.ok(&format!("ln -s {target} again"), &workspace).await;
        workspace.remove().await.unwrap();
        let left: Vec<_> = std::fs::read_dir(&outside).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["secret"]);
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"hidden");
    })
    .await;
}

#[tokio::test]
async fn a_link_of_the_shared_tree_is_not_followed() {
    both(async |bench| {
        std::os::unix::fs::symlink("/etc", bench.lower.join("etc")).unwrap();
        let workspace = bench.workspace().await;
        for result in [
            workspace.read("etc/passwd", 10_000).await.map(drop),
            workspace.put("etc/canary", Vec::new(), 0o644).await,
            workspace.delete("etc/passwd").await,
        ] {
            assert!(matches!(result.unwrap_err(), WorkspaceError::ThroughLink { .. }));
        }
        std::fs::remove_file(bench.lower.join("etc")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_worst_tree_can_be_removed() {
    both(async |bench| {
        let workspace = bench.workspace().await;
        let script = "import os\n\
            for i in range(1100):\n    os.mkdir('deep'); os.chdir('deep')\n\
            open('end', 'w').close()\n\
            os.mkdir('closed'); os.mkdir('closed/in'); os.chmod('closed/in', 0); os.chmod('closed', 0)\n";
        let finished = bench.run(&farm_sandbox::Command::new(["python3", "-c", script]), &workspace).await;
        assert!(finished.exit.success(), "{}", finished.output.text());
        // Too deep to have a path: an error, not a hang and not a silence.
        workspace.changes().await.unwrap_err();
        workspace.remove().await.unwrap();
        let session = std::fs::read_dir(bench.dir.path().join("work dir")).unwrap().next().unwrap().unwrap();
        let left = std::fs::read_dir(session.path()).unwrap().flatten();
        assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("slot-")));
    })
    .await;
}
