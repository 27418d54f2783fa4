"""Measures time and memory: many replies through one process, and replies and files of great size."""

import json
import os
import subprocess
import tempfile
import time

from history import environment

N_REPLIES = 1_000
FASTER_DRY, FASTER_WRITTEN = 20, 3
MAX_SECONDS = 1.0
# Memory may grow by this much more than its input does, over which rounding of buffers counts.
LINEAR = 1.5


def measure(binary, scratch, cases):
    """Prints the figures; tells whether the goals hold."""
    return many(binary, scratch, cases) & sizes(binary, scratch)


def many(binary, scratch, cases):
    """One process for all replies, against `git apply --check` started for each on files that lie ready."""
    wanted = [cases[idx % len(cases)] for idx in range(N_REPLIES)]
    lines = "".join(json.dumps({"rev": case.commit.base, "reply": case.reply}) + "\n" for case in wanted).encode()
    seconds = {}
    for name, options in (("dry run", ["--dry-run"]), ("trees written", [])):
        seconds[name], _ = timed([binary, "patch", "apply", "--repo", scratch.folder, "--batch", *options, "-o", "json"], lines)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for number, case in enumerate(cases):
            for path, content in {**case.files(), "../reply": case.diff.encode()}.items():
                place = os.path.normpath(os.path.join(folder, str(number), "work", path))
                os.makedirs(os.path.dirname(place), exist_ok=True)
                with open(place, "wb") as file:
                    file.write(content)
        env = {**environment(), "GIT_CEILING_DIRECTORIES": folder}
        since = time.perf_counter()
        for idx in range(N_REPLIES):
            work = os.path.join(folder, str(idx % len(cases)), "work")
            subprocess.run(["git", "apply", "--check", "../reply"], cwd=work, env=env, capture_output=True)
        spawned = time.perf_counter() - since
    print(f"\n{N_REPLIES} replies: git apply --check, started for each {spawned:.2f} s")
    for name, factor in (("dry run", FASTER_DRY), ("trees written", FASTER_WRITTEN)):
        print(f"  patchfarm --batch, {name:13} {seconds[name]:6.2f} s, {spawned / seconds[name]:5.1f} times as fast (goal {factor})")
    return spawned >= FASTER_DRY * seconds["dry run"] and spawned >= FASTER_WRITTEN * seconds["trees written"]


def sizes(binary, scratch):
    """A file of many lines under a small reply, and a reply of many bytes; each in three sizes."""
    good = True
    for what, make, full in (("file of {:,} lines", long_file, 200_000), ("reply of {:,} bytes", long_reply, 5_000_000)):
        memory = []
        for size in (full // 4, full // 2, full):
            content, reply = make(size)
            parent = scratch.git("commit-tree", scratch.git("mktree").decode().strip(), "-m", "", env=AUTHOR).decode().strip()
            [(rev, _)] = scratch.write([(parent, {"x.txt": ("100644", content.encode())})])
            line = json.dumps({"rev": rev, "reply": reply}).encode() + b"\n"
            seconds, kilobytes = timed([binary, "patch", "apply", "--repo", scratch.folder, "--batch", "-o", "json"], line)
            memory.append(kilobytes)
            print(f"  a {what.format(size):24} {seconds:5.2f} s, {kilobytes / 1024:6.0f} MiB")
        growth = (memory[2] - memory[1]) / max(1, memory[1] - memory[0])
        good &= seconds < MAX_SECONDS and growth < 2 * LINEAR
    return good


AUTHOR = {f"GIT_{who}_{what}": "bench" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def long_file(n_lines):
    lines = [f"    value_{number} = compute({number % 97})" for number in range(n_lines)]
    middle = n_lines // 2
    hunk = [f" {lines[middle - 1]}", f"-{lines[middle]}", "+    value = None", f" {lines[middle + 1]}"]
    body = "\n".join(hunk)
    return "\n".join(lines) + "\n", f"--- a/x.txt\n+++ b/x.txt\n@@ -{middle // 2},3 +{middle // 2},3 @@\n{body}\n"


def long_reply(n_bytes):
    lines = [f"    value_{number} = compute({number % 97})" for number in range(n_bytes // 120)]
    hunks = []
    for at in range(1, len(lines) - 1, 3):
        hunks.append(f"@@ -{at},3 +{at},3 @@\n {lines[at - 1]}\n-{lines[at]}\n+{lines[at]}  # was {'x' * 60}\n {lines[at + 1]}\n")
    reply = "--- a/x.txt\n+++ b/x.txt\n" + "".join(hunks)
    return "\n".join(lines) + "\n", reply[:n_bytes].rsplit("@@ -", 1)[0] if len(reply) > n_bytes else reply


def timed(command, stdin):
    """Seconds of the clock, and the greatest resident memory in KiB."""
    with tempfile.TemporaryFile() as source:
        source.write(stdin)
        source.seek(0)
        since = time.perf_counter()
        child = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE)
        answers = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - since
    child.returncode = os.waitstatus_to_exitcode(status)
    refused = [answer for answer in map(json.loads, answers.splitlines()) if answer["status"] not in ("applied", "unchanged")]
    if child.returncode or refused:
        raise SystemExit(f"bench: a reply that was to be timed was not applied: {(refused or [command])[0]}")
    return seconds, usage.ru_maxrss
