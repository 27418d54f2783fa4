"""Finds commits in a repository's history that can be asked for as tasks: what each changed, and what must come out."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field

MAX_FILES = 5
MAX_DIFF_BYTES = 60_000
# What the farm reads of a file, and lets be written.
MAX_FILE_BYTES = 1024 * 1024
FILE_MODES = ("100644", "100755")
# Paths that no policy opens for writing, or that models are never shown.
CLOSED = re.compile(
    r"patchfarm\.toml|\.gitlab-ci\.yml|\.pre-commit-config\.yaml|\.github/(workflows|actions)/.*|\.circleci/.*"
    r"|(.*/)?(\.gitmodules|\.gitattributes|Jenkinsfile|\.git/.*)"
    r"|(.*/)?(\.env[^/]*|_secure/.*|[^/]*\.pem|id_rsa[^/]*|id_ed25519[^/]*)",
    re.IGNORECASE | re.DOTALL,
)
# New lines that the farm refuses, and rightly: what a merge left behind, and dots and comments that may stand for
# what is left out.
REFUSED = re.compile(
    r"^\+(?:<{7} |>{7} |[ \t]*(?:(?:/|#|--|;|%|<!--)[ \t/*#!]*(?:(?:the )?rest of .*)?)?(?:\.\.\.|\u2026)[ \t*/>-]*$)",
    re.IGNORECASE | re.MULTILINE,
)

# The check that judges a task's files, in the farm and here: Python compiles, JSON reads, other text is clean.
SYNTAX = """
import json, re, sys
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    if path.endswith(".py"):
        compile(data, path, "exec")
    elif path.endswith(".json"):
        json.loads(data)
    elif b"\\0" in data:
        sys.exit(path + ": a NUL byte")
    elif re.search(rb"^ +\\t", data, re.MULTILINE):
        sys.exit(path + ": a space before a tab")
"""
# The check for files that went.
GONE = """
import os, sys
sys.exit(" ".join(path for path in sys.argv[1:] if os.path.lexists(path)) or 0)
"""


@dataclass
class Change:
    path: str
    old: str | None
    new: str | None


@dataclass
class Sample:
    """One commit of the history, and its parent."""

    commit: str
    base: str
    tree: str
    subject: str
    diff: str
    changes: list[Change] = field(default_factory=list)

    def paths(self, gone):
        return [change.path for change in self.changes if (change.new is None) == gone]


class Git:
    """The git command on one bare repository, without anybody's configuration."""

    def __init__(self, folder):
        self.folder = folder

    def bytes(self, *args):
        return subprocess.run(
            ["git", "--git-dir", self.folder, *args], env=environment(), check=True, stdout=subprocess.PIPE
        ).stdout

    def __call__(self, *args):
        return self.bytes(*args).decode().strip()


def environment():
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}


def copy(source, target):
    """Makes a remote of a bare clone: its branches and tags with their history, nothing else. Like the hosts that
    people use, it gives out any commit that somebody names."""
    clone = ["git", "clone", "--quiet", "--bare", "--no-local", source, target]
    subprocess.run(clone, env=environment(), check=True)
    git = Git(target)
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    git("config", "gc.auto", "0")
    taken = git("for-each-ref", "--format=%(refname)", "refs/heads/agt/")
    if taken:
        raise SystemExit(f"e2e: {source} has branches of a farm already: {taken.split()[0]}")
    return git


def choose(git, branch, n_samples, rng):
    """Takes commits at random until enough fit."""
    commits = git("rev-list", "--min-parents=1", "--max-parents=1", branch).split()
    rng.shuffle(commits)
    samples = []
    for commit in commits:
        if len(samples) == n_samples:
            break
        sample = read(git, commit)
        if sample and passes(sample):
            samples.append(sample)
    if len(samples) < n_samples:
        raise SystemExit(f"e2e: only {len(samples)} of {len(commits)} commits fit; ask for fewer with --tasks")
    return samples


def read(git, commit):
    """The commit, if it is a change of a few text files and of nothing else."""
    raw = git.bytes("diff-tree", "-r", "-z", "--no-renames", "--no-commit-id", commit).split(b"\0")
    entries = list(zip(raw[0:-1:2], raw[1::2]))
    if not 1 <= len(entries) <= MAX_FILES:
        return None
    try:
        changes = [read_change(git, entry.decode(), path.decode()) for entry, path in entries]
        base, tree, subject = git("show", "--no-patch", "--format=%P%n%T%n%s", commit).split("\n")
        diff = git.bytes("diff", "--no-renames", "--no-ext-diff", "--no-textconv", base, commit)
        if None in changes or not subject or len(diff) > MAX_DIFF_BYTES or REFUSED.search(diff.decode()):
            return None
        return Sample(commit, base, tree, subject, diff.decode(), changes)
    except (UnicodeDecodeError, ValueError):
        return None


def read_change(git, entry, path):
    old_mode, new_mode, old, new, status = entry.removeprefix(":").split(" ")
    modes = {"A": new_mode == "100644", "M": old_mode == new_mode in FILE_MODES, "D": old_mode in FILE_MODES}
    if not modes.get(status) or CLOSED.fullmatch(path):
        return None
    old, new = (None if set(blob) == {"0"} else read_text(git, blob) for blob in (old, new))
    return Change(path, old, new)


def read_text(git, blob):
    content = git.bytes("cat-file", "blob", blob)
    if b"\0" in content or len(content) > MAX_FILE_BYTES:
        raise ValueError("no text, or too much")
    return content.decode()


def passes(sample):
    """Whether the commit's own files pass the checks that its task will have."""
    with tempfile.TemporaryDirectory() as folder:
        for change in sample.changes:
            if change.new is not None:
                path = os.path.join(folder, change.path)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(change.new.encode())
        checks = [(SYNTAX, sample.paths(gone=False)), (GONE, sample.paths(gone=True))]
        return all(runs(["python3", "-c", script, *paths], folder) for script, paths in checks if paths)


def runs(argv, folder):
    return subprocess.run(argv, cwd=folder, env=environment(), capture_output=True).returncode == 0
