"""Measures the whole farm: its rate beside the seed's way, one task's way when all is warm, pushes beside git's own,
and what one worker with many slots does while a slow model thinks.

Each repository is a bare clone; it is copied and not changed. The remote is git over smart HTTP on loopback, Kafka is
Apache Kafka, the model is a scripted server. Every figure that is a ratio comes from one run, its two sides by turns
where that can be."""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

sys.dont_write_bytecode = True

import farm as farms
import history
import prologue
import wire

SLOTS = 64
THINKING_MS = 1000
LONG_THINKING_MS = 10_000
MAX_FILE_BYTES = 40_000
PLAIN = re.compile(r"\s*(?!diff |index |rename |copy |similarity |new |deleted |old )[A-Za-z].{8,}")
# A branch name of 20 characters, as a change of ten tasks makes them.
N_OTHER_BRANCHES = 1000
TICK_S = os.sysconf("SC_CLK_TCK")
WORKER = {"worker.slots": SLOTS, "control.offer-timeout-ms": 120_000}


@dataclass
class Edit:
    """One line of one file, changed."""

    path: str
    diff: str


@dataclass
class Asked:
    """What a round of tasks is."""

    name: str
    n_tasks: int
    kind: str = "edit"
    thinking_ms: int = 0

    def ids(self):
        return [f"{self.name}-{number:03}" for number in range(1, self.n_tasks + 1)]


class Remote:
    """A copy of a clone, the edits that it is asked for, and its URL."""

    def __init__(self, clone, home, name, n_edits, rng):
        self.name = name
        self.git = history.copy(clone, os.path.join(home, "repositories", f"{name}.git"))
        self.target = self.git("symbolic-ref", "--short", "HEAD")
        self.base = self.git("rev-parse", self.target)
        self.n_files = len(self.git("ls-tree", "-r", "--name-only", self.base).splitlines())
        self.edits = choose_edits(self.git, self.base, n_edits, rng)


def choose_edits(git, base, n_edits, rng):
    """One line in each of as many files as there are, and again from the first where there are fewer."""
    entries = [entry.split(b"\t", 1) for entry in git.bytes("ls-tree", "-r", "-z", "--long", base).split(b"\0")[:-1]]
    paths = [
        path.decode(errors="replace")
        for kind, path in entries
        if kind.startswith(b"100644 ") and 100 < int(kind.split()[3]) < MAX_FILE_BYTES
    ]
    paths = [path for path in paths if path.isascii() and " " not in path and not history.CLOSED.fullmatch(path)]
    rng.shuffle(paths)
    edits = []
    for path in paths:
        edit = write_edit(git, base, path, rng)
        if edit:
            edits.append(edit)
        if len(edits) == n_edits:
            return edits
    if not edits:
        raise SystemExit(f"{prologue.me()}: no file to edit")
    return [edits[number % len(edits)] for number in range(n_edits)]


def write_edit(git, base, path, rng):
    try:
        text = git.bytes("cat-file", "blob", f"{base}:{path}").decode()
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    if not text.endswith("\n") or "\r" in text or "\0" in text:
        return None
    # Lines that begin as no marker of any format does, and no header of a diff.
    plain = [at for at, line in enumerate(lines) if PLAIN.match(line)]
    candidates = [at for at in plain if lines.count(lines[at]) == 1]
    if not candidates:
        return None
    at = rng.choice(candidates)
    first, last = max(0, at - 3), min(len(lines) - 1, at + 4)
    n = last - first
    body = [f"-{line}\n+{line} edited" if first + k == at else f" {line}" for k, line in enumerate(lines[first:last])]
    hunk = "\n".join([f"@@ -{first + 1},{n} +{first + 1},{n} @@", *body])
    return Edit(path, f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n{hunk}\n")


def main():
    options = read_options()
    prologue.with_kafka()
    prologue.with_python()
    binaries = options.binaries or prologue.build("release")
    home = tempfile.mkdtemp(prefix="patchfarm-bench-")
    try:
        figures = {}
        for at, clone in enumerate(options.clones):
            figures[clone] = measure(options, binaries, os.path.join(home, str(at)), clone)
            for name, value in figures[clone].items():
                say(f"{name:34} {value}")
    except BaseException:
        print(f"{prologue.me()}: kept: {home}", file=sys.stderr)
        raise
    if options.keep:
        say(f"kept: {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(figures))


def read_options():
    parser = argparse.ArgumentParser(prog="scripts/bench farm", description=__doc__)
    parser.add_argument("clones", nargs="+", metavar="BARE_CLONE", help="a git directory")
    parser.add_argument("--tasks", type=int, default=100, metavar="N", help="edits of each way (default: 100)")
    parser.add_argument("--seed-tasks", type=int, metavar="N", help="of them for the seed's slow way (default: all)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is random (default: 1)")
    parser.add_argument("--only", default="rate,warm,push,slow,long", metavar="PARTS", help="parts, by commas (default: all)")
    parser.add_argument("--keep", action="store_true", help="keep logs, store, caches and remotes")
    parser.add_argument("--binaries", type=os.path.abspath, metavar="DIR", help="has patchfarm and examples/loopback (default: build them)")
    options = parser.parse_args()
    options.clones = [os.path.abspath(clone) for clone in options.clones]
    options.only = options.only.split(",")
    return options


def measure(options, binaries, home, clone):
    rng = random.Random(options.seed)
    remote = Remote(clone, home, "farm", options.tasks, rng)
    for other in ("seed", "twin"):
        history.copy(clone, os.path.join(home, "repositories", f"{other}.git"))
    say(f"{clone}: {remote.n_files} files")
    rounds = {
        "first": Asked("first", 1),
        "rate": Asked("rate", options.tasks),
        "warm": Asked("warm", 20),
        "push": Asked("push", 20),
        "slow": Asked("slow", 4 * SLOTS, thinking_ms=THINKING_MS),
        "analyze": Asked("analyze", 6 * SLOTS, kind="analyze", thinking_ms=THINKING_MS),
        "long": Asked("long", 3, thinking_ms=LONG_THINKING_MS),
    }
    bench = Bench(options, binaries, home, remote, rounds)
    try:
        return bench.run()
    finally:
        bench.farm.stop()


class Bench:
    """One farm with one worker, and all rounds of tasks in it."""

    def __init__(self, options, binaries, home, remote, rounds):
        from kafka import Kafka, Results

        self.options, self.home, self.remote, self.rounds = options, home, remote, rounds
        self.kafka = Kafka(os.environ["KAFKA_BOOTSTRAP"])
        self.farm = farms.Farm(binaries, home, self.kafka.bootstrap, WORKER)
        self.write_script()
        self.git_url = self.farm.serve(os.path.join(home, "repositories"), os.path.join(home, "script.json"), 0)
        status, said = self.farm.ask("topics", "apply")
        if status:
            raise SystemExit(f"{prologue.me()}: topics apply: {said}")
        self.farm.start_control()
        self.farm.register(f"{self.git_url}farm.git", remote.target)
        self.farm.start_worker(0)
        self.results = Results(self.kafka, self.farm.topic("commit-results"))

    def write_script(self):
        rules = []
        for asked in self.rounds.values():
            for id, edit in zip(asked.ids(), self.edits_of(asked)):
                text = edit.diff if asked.kind == "edit" else "All is well."
                answer = {"text": text, "delay-ms": asked.thinking_ms}
                rules.append({"key": id, "contains": [f"[task {id}]"], "answers": [answer]})
        with open(os.path.join(self.home, "script.json"), "w") as file:
            json.dump({"rules": rules}, file)

    def edits_of(self, asked):
        return [self.remote.edits[at % len(self.remote.edits)] for at in range(asked.n_tasks)]

    def run(self):
        parts = {"rate": self.rate, "warm": self.warm, "push": self.push, "slow": self.slow, "long": self.long}
        figures = {"files": self.remote.n_files, "first_task_ms": 1000 * self.ask(self.rounds["first"])}
        for part in self.options.only:
            figures |= parts[part]()
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}

    def rate(self):
        """The farm's tasks in a second, and the seed's."""
        farm = self.rounds["rate"].n_tasks / self.ask(self.rounds["rate"])
        edits = self.remote.edits[: self.options.seed_tasks]
        seed = len(edits) / seed_way(f"{self.git_url}seed.git", self.remote.target, edits, self.home)
        return {"farm_tasks_per_s": farm, "seed_tasks_per_s": seed, "rate_ratio": farm / seed}

    def push(self):
        """The farm's push and git's push of the same commit to the same kind of remote, among many branches."""
        base = self.remote.base
        twin = history.Git(os.path.join(self.home, "repositories", "twin.git"))
        plain = history.copy(twin.folder, os.path.join(self.home, "plain.git"))
        update = "".join(f"create refs/heads/agt/other-task-{n:08} {base}\n" for n in range(N_OTHER_BRANCHES)).encode()
        for git in (self.remote.git, twin):
            subprocess.run(["git", "--git-dir", git.folder, "update-ref", "--stdin"], input=update, check=True)
        mine, theirs = [], []
        for id, edit in zip(self.rounds["push"].ids(), self.edits_of(self.rounds["push"])):
            self.produce([id], [edit], "edit")
            self.wait({id})
            mine.append(self.step_ms(id, "push"))
            branch = f"refs/heads/agt/{id}"
            plain("fetch", "--quiet", self.remote.git.folder, branch)
            since = time.monotonic()
            plain("push", "--quiet", f"{self.git_url}twin.git", f"FETCH_HEAD:{branch}")
            theirs.append(1000 * (time.monotonic() - since))
        ratios = [a / b for a, b in zip(mine, theirs)]
        return {
            "push_ms": statistics.median(mine),
            "git_push_ms": statistics.median(theirs),
            "push_ratio": statistics.median(ratios),
        }

    def warm(self):
        return {"warm_task_ms": self.one_by_one(self.rounds["warm"])}

    def long(self):
        seconds = self.one_by_one(self.rounds["long"]) / 1000
        return {"overhead_of_10_s_task_percent": 100 * (seconds - LONG_THINKING_MS / 1000) / seconds}

    def slow(self):
        """Rates with a model that thinks, the worker's memory, and where the processor's time went."""
        figures = {}
        for name in ("slow", "analyze"):
            before = self.cpu()
            seconds = self.ask(self.rounds[name])
            spent = {part: after - before[part] for part, after in self.cpu().items()}
            total = sum(spent.values())
            figures[f"{name}_tasks_per_s"] = self.rounds[name].n_tasks / seconds
            figures[f"{name}_cpu_ms_per_task"] = {
                part: round(1000 * cpu_s / self.rounds[name].n_tasks, 1) for part, cpu_s in spent.items()
            }
            figures[f"{name}_git_cpu_percent"] = 100 * (spent["worker's git"] + spent["remote's git"]) / total
        figures["worker_peak_resident_mb"] = self.peak_resident_mb("worker-0")
        return figures

    def ask(self, asked):
        """Seconds from the first record to the last result."""
        since = time.monotonic()
        self.produce(asked.ids(), self.edits_of(asked), asked.kind)
        self.wait(set(asked.ids()))
        return time.monotonic() - since

    def one_by_one(self, asked):
        """The median of the milliseconds from a record to its result, each alone in the farm."""
        times = []
        for id, edit in zip(asked.ids(), self.edits_of(asked)):
            since = time.monotonic()
            self.produce([id], [edit], asked.kind)
            self.wait({id})
            times.append(1000 * (time.monotonic() - since))
        return statistics.median(times)

    def produce(self, ids, edits, kind):
        records = [
            (id, wire.task(id, kind, f"edit [task {id}]", edit.path, farms.REPOSITORY, self.remote.base, []), [("pf-type", b"task")])
            for id, edit in zip(ids, edits)
        ]
        self.kafka.produce(self.farm.topic("coding-tasks"), records)

    def wait(self, ids):
        deadline = time.monotonic() + 300
        while ids - self.results.records.keys():
            self.results.read_next(1)
            if self.farm.fallen() or time.monotonic() > deadline:
                raise SystemExit(f"{prologue.me()}: results missing: {sorted(ids - self.results.records.keys())[:5]}")
        for id in ids:
            result = wire.result(self.results.records[id][0])
            if result["status"] != "SUCCESS":
                raise SystemExit(f"{prologue.me()}: {id}: {result['status']}: {result['notes']}")

    def step_ms(self, id, phase):
        """How long a step took; the timeline may come a little after the result."""

        def find():
            steps = self.farm.get(f"tasks/{id}/steps")["steps"]
            return next((step["duration-ms"] for step in steps if step["phase"] == phase), None)

        return farms.until(10, f"the step {phase} of {id}", find)

    def cpu(self):
        """Processor seconds so far, by who spent them; a child's count once it has ended."""
        worker, worker_git = cpu_of(self.farm.running["worker-0"].pid)
        control, control_git = cpu_of(self.farm.running["control"].pid)
        servers, remote_git = cpu_of(self.farm.running["loopback"].pid)
        return {
            "worker": worker,
            "worker's git": worker_git,
            "control": control + control_git,
            "remote's git": remote_git,
            "remote and model": servers,
        }

    def peak_resident_mb(self, name):
        with open(f"/proc/{self.farm.running[name].pid}/status") as file:
            kb = next(line.split()[1] for line in file if line.startswith("VmHWM:"))
        return int(kb) / 1000


def cpu_of(pid):
    """A process's own processor seconds, and those of its ended children."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(") ")[2].split()
    user, system, child_user, child_system = map(int, fields[11:15])
    return (user + system) / TICK_S, (child_user + child_system) / TICK_S


def seed_way(url, target, edits, home):
    """The seed's own loop, one task after the other: a shallow clone, `git apply`, a branch, a commit, a push. No model is
    asked and no check runs here either. Seconds for all."""
    since = time.monotonic()
    for number, edit in enumerate(edits):
        folder = tempfile.mkdtemp(dir=home)

        def git(*args, **more):
            command = ["git", "-c", "user.name=seed", "-c", "user.email=seed@example.com", *args]
            subprocess.run(command, env=history.environment(), check=True, stdout=subprocess.DEVNULL, **more)

        git("clone", "--quiet", "--depth", "1", "--branch", target, url, folder)
        git("-C", folder, "apply", "-", input=edit.diff.encode())
        git("-C", folder, "checkout", "--quiet", "-b", f"agt/seed-{number:03}")
        git("-C", folder, "add", "--all")
        git("-C", folder, "commit", "--quiet", "-m", f"edit: one line\n\n[agent:seed-{number:03}]")
        git("-C", folder, "push", "--quiet", "origin", f"agt/seed-{number:03}")
        shutil.rmtree(folder)
    return time.monotonic() - since


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
