"""The tools that are measured: patchfarm on git objects, the others in a folder that holds the files in question."""

import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

from history import environment

MPATCH_VERSION = "1.8.1"
N_AT_ONCE = 2
SECONDS = 20


class Scratch:
    """A bare repository that borrows the clone's objects and holds what the cases start from and must come to."""

    def __init__(self, folder, clone):
        self.folder = folder
        subprocess.run(["git", "init", "--quiet", "--bare", folder], env=environment(), check=True)
        with open(f"{folder}/objects/info/alternates", "w") as file:
            file.write(f"{os.path.abspath(clone)}/objects\n")

    def git(self, *args, stdin=b"", env=None):
        command = ["git", "--git-dir", self.folder, *args]
        return subprocess.run(command, env=environment() | (env or {}), check=True, input=stdin, stdout=subprocess.PIPE).stdout

    def write(self, wanted):
        """Makes a commit of every (parent, {path: (mode, content)}); gives (commit, tree) in the same order."""
        stream = []
        for number, (parent, files) in enumerate(wanted, 1):
            stream.append(f"commit refs/bench\nmark :{number}\ncommitter bench <bench> 0 +0000\ndata 0\nfrom {parent}\n".encode())
            for path, (mode, content) in files.items():
                stream.append(f"M {mode} inline {path}\ndata {len(content)}\n".encode() + content + b"\n")
        marks = os.path.join(self.folder, "marks")
        self.git("fast-import", "--quiet", "--force", f"--export-marks={marks}", stdin=b"".join(stream))
        with open(marks) as file:
            by_mark = dict(line.split() for line in file)
        commits = [by_mark[f":{number}"] for number in range(1, len(wanted) + 1)]
        names = "".join(f"{commit}^{{tree}}\n" for commit in commits).encode()
        trees = self.git("cat-file", "--batch-check=%(objectname)", stdin=names).decode().split()
        return list(zip(commits, trees))


def patchfarm(binary, repo, requests, *options):
    """The answers to (revision, reply), out of one process."""
    lines = "".join(json.dumps({"rev": rev, "reply": reply}) + "\n" for rev, reply in requests)
    command = [binary, "patch", "apply", "--repo", repo, "--batch", *options, "-o", "json"]
    done = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def cached_mpatch(cache):
    """Builds mpatch, once, in the cache."""
    root = os.path.join(cache, f"mpatch-{MPATCH_VERSION}")
    binary = os.path.join(root, "bin", "mpatch")
    if not os.path.exists(binary):
        build = ["cargo", "install", "--quiet", "--locked", "mpatch", "--version", MPATCH_VERSION, "--root", root]
        subprocess.run(build, check=True)
    return binary


def rivals(mpatch):
    """The commands of the other tools by name, and whether they read a bare diff only."""
    return {
        "git apply --recount": (["git", "apply", "--recount", "{file}"], True),
        "patch": (["patch", "-p1", "--batch", "--silent", "--no-backup-if-mismatch", "--input={file}"], True),
        "mpatch": ([mpatch, "--atomic", "{file}", "."], False),
    }


def run_rival(command, reads_diff, cases):
    """What a tool makes of the cases: "right", "wrong", "refused", or None where it has nothing to read."""

    def one(case):
        text_in = case.diff if reads_diff else case.reply
        if text_in is None:
            return None
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            work = os.path.join(folder, "work")
            for path, content in case.files().items():
                place = os.path.join(work, path)
                os.makedirs(os.path.dirname(place), exist_ok=True)
                with open(place, "wb") as file:
                    file.write(content)
            patch = os.path.join(folder, "reply.md")
            with open(patch, "w", newline="") as file:
                file.write(text_in)
            try:
                argv = [part.format(file=patch) for part in command]
                env = {**environment(), "GIT_CEILING_DIRECTORIES": folder}
                done = subprocess.run(argv, cwd=work, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                return "refused"
            if done.returncode != 0:
                return "refused"
            return "right" if case.after and read(work) == {**case.files(), **case.after} else "wrong"

    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        return list(pool.map(one, cases))


def read(folder):
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            place = os.path.join(parent, name)
            with open(place, "rb") as file:
                files[os.path.relpath(place, folder)] = file.read()
    return files
