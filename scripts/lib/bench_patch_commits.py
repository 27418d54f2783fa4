"""Takes real commits out of a bare clone: the text files that each changed, and its hunks as git prints them."""

import re
import subprocess
from dataclasses import dataclass, field, replace

from history import environment

MAX_FILES = 5
MAX_CHANGED_LINES = 300
MAX_FILE_BYTES = 1 << 20
HEADER = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)")
# A line that a reader of a format could take for its own, in a file that is about such formats.
MARKER = re.compile(r"={5,9}\s*$|[<>+-]{5,9}\s*(SEARCH|ORIGINAL|REPLACE|UPDATED)|\*\*\* (Begin|End|Add|Update|Delete)|@@ -\d")


@dataclass(frozen=True)
class Hunk:
    """One hunk; `lines` have their sign. `start` is its first line in the old file, counted from 0."""

    start: int
    new_start: int
    lines: tuple[str, ...]
    heading: str = ""

    def side(self, gone):
        """The text of one side: without the lines that bear the sign `gone`."""
        return [line[1:] for line in self.lines if line[0] != gone]

    @property
    def before(self):
        return self.side("+")

    @property
    def after(self):
        return self.side("-")

    def adds(self):
        return any(line[0] == "+" for line in self.lines)

    def drops(self):
        return any(line[0] == "-" for line in self.lines)


@dataclass(frozen=True)
class File:
    """A file that the commit changes, as lines without their ends, on both sides."""

    path: str
    mode: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    hunks: tuple[Hunk, ...]


@dataclass
class Commit:
    oid: str
    base: str
    files: list[File]
    repo: "Repo"
    wider: dict[int, list[File]] = field(default_factory=dict)

    def with_context(self, n_lines):
        """The same files with hunks of so many lines of context."""
        if n_lines not in self.wider:
            hunks = self.repo.hunks(self.base, self.oid, n_lines)
            self.wider[n_lines] = [replace(file, hunks=hunks[file.path]) for file in self.files]
        return self.wider[n_lines]


def text(lines):
    return "".join(f"{line}\n" for line in lines)


class Repo:
    """A bare clone, read by git itself."""

    def __init__(self, folder):
        self.folder = folder

    def git(self, *args):
        return subprocess.run(
            ["git", "--git-dir", self.folder, *args], env=environment(), check=True, stdout=subprocess.PIPE
        ).stdout

    def commits(self, rng):
        """Yields the commits that change a few text files, in random order."""
        oids = self.git("rev-list", "--min-parents=1", "--max-parents=1", "HEAD").decode().split()
        rng.shuffle(oids)
        for oid in oids:
            try:
                commit = self.read(oid)
            except (UnicodeDecodeError, ValueError, KeyError):
                continue
            if commit:
                yield commit

    def read(self, oid):
        raw = self.git("diff-tree", "-r", "-z", "--no-renames", "--no-commit-id", oid).decode().split("\0")
        entries = list(zip(raw[0:-1:2], raw[1::2]))
        if not 1 <= len(entries) <= 3 * MAX_FILES:
            return None
        base = self.git("rev-parse", f"{oid}^").decode().strip()
        changed = {}
        for entry, path in entries:
            old_mode, new_mode, old, new, status = entry.removeprefix(":").split(" ")
            if status == "M" and old_mode == new_mode and old_mode in ("100644", "100755"):
                changed[path] = (new_mode, old, new)
        if not 1 <= len(changed) <= MAX_FILES:
            return None
        hunks = self.hunks(base, oid, 3)
        n_changed = sum(line[0] != " " for path in changed for hunk in hunks[path] for line in hunk.lines)
        if n_changed > MAX_CHANGED_LINES:
            return None
        files = [
            File(path, mode, self.lines(old), self.lines(new), hunks[path]) for path, (mode, old, new) in changed.items()
        ]
        return Commit(oid, base, files, self)

    def lines(self, blob):
        content = self.git("cat-file", "blob", blob)
        plain = b"\0" not in content and b"\r" not in content and not content.startswith(b"\xef\xbb\xbf")
        if not plain or not content.endswith(b"\n") or len(content) > MAX_FILE_BYTES:
            raise ValueError("no plain text")
        lines = content.decode().split("\n")[:-1]
        if any(MARKER.match(line) for line in lines):
            raise ValueError("a text about edits")
        return tuple(lines)

    def hunks(self, base, oid, n_context):
        """The hunks of every file by path, from git's own diff."""
        options = ["--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", f"-U{n_context}"]
        found, lines, path = {}, [], None
        header = None

        def close():
            if header:
                start, n_old, new_start, n_new, heading = header.groups()
                start, new_start = int(start) - (n_old != "0"), int(new_start) - (n_new != "0")
                found[path].append(Hunk(start, new_start, tuple(lines), heading))

        for line in self.git("-c", "core.quotePath=false", "diff-tree", "-p", *options, base, oid).decode().split("\n"):
            if line.startswith("diff --git "):
                close()
                header, path = None, None
            elif header is None and line.startswith("+++ "):
                path = line[4:].split("\t")[0].removeprefix("b/")
                found[path] = []
            elif match := path and HEADER.fullmatch(line):
                close()
                header, lines = match, []
            elif header and line[:1] in (" ", "+", "-"):
                lines.append(line)
            elif header and line.startswith("\\"):
                raise ValueError("no newline at the end")
        close()
        return {path: tuple(hunks) for path, hunks in found.items()}
