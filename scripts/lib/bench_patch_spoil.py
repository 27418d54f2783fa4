"""The classes: each writes a commit as a model would, spoiled in one way, and says beforehand what that must come to.

A class is RECOVERABLE if a careful person could tell what is meant, else AMBIGUOUS: then only a refusal is right. Where a recoverable
case has by accident more than one reading, `bench_patch_places` finds that out by counting.
"""

import json
import re
from dataclasses import dataclass, field, replace

import bench_patch_places as places
from bench_patch_commits import text

RECOVERABLE, AMBIGUOUS = "recoverable", "ambiguous"
CLASSES = {}


@dataclass
class Case:
    """A reply, the files that it is for where they are not the commit's parent's, and the files that must come out."""

    reply: str
    after: dict[str, bytes]
    base: dict[str, bytes] = field(default_factory=dict)
    # Old lines, hunk as written, stated line, search, truth: for places.reading.
    asked: list[tuple] = field(default_factory=list)
    # The bare diff, for tools that read nothing else.
    diff: str | None = None
    # Set when the case is taken up.
    name: str = ""
    commit: object = None
    reading: str = ""

    def files(self):
        """What the files hold that the reply is for."""
        return {**{file.path: text(file.old).encode() for file in self.commit.files}, **self.base}


def spoils(declared=RECOVERABLE):
    """Registers a class under its function's name; the function answers None where the commit gives no such case."""

    def register(function):
        CLASSES[function.__name__.replace("_", "-")] = (declared, function)
        return function

    return register


# How replies are written.


def fenced(body, info=""):
    longest = max((len(run) for run in re.findall(r"`+|~+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{info}\n{body}{fence}\n"


def header(hunk):
    n_old, n_new = len(hunk.before), len(hunk.after)
    return f"@@ -{hunk.start + (n_old > 0)},{n_old} +{hunk.new_start + (n_new > 0)},{n_new} @@"


def unified(files, write_header=header, names="--- a/{0}\n+++ b/{0}\n"):
    parts = []
    for file in files:
        parts.append(names.format(file.path))
        for hunk in file.hunks:
            parts.append("".join(f"{line}\n" for line in [write_header(hunk), *hunk.lines]))
    return "".join(parts)


def outcome(files):
    return {file.path: text(file.new).encode() for file in files}


def in_files(files, change):
    """The files with every hunk changed; None if no hunk did."""
    changed = [replace(file, hunks=tuple(replace(hunk, lines=tuple(change(hunk))) for hunk in file.hunks)) for file in files]
    return changed if changed != list(files) else None


def each_line(files, change):
    """Changes the old lines alone; a sign is kept."""
    return in_files(files, lambda hunk: [line if line[0] == "+" else line[0] + change(line[1:]) for line in hunk.lines])


def asked(files, search=places.EXACT, stated=lambda hunk: hunk.start, truths=None):
    """What the hunks of these files ask for; truths are the hunks as they were."""
    out = []
    for idx, file in enumerate(files):
        for number, hunk in enumerate(file.hunks):
            truth = truths[idx].hunks[number] if truths else hunk
            out.append((file.old, hunk.lines, stated(hunk), search, truth.start))
    return out


def laid_out(files, truths, search, stated=lambda hunk: hunk.start):
    """The same for searches whose readings are whole texts."""
    out = []
    for file, true in zip(files, truths):
        for hunk, truth in zip(file.hunks, true.hunks):
            new = places.result(file.old, truth.start, truth.start + len(truth.before), truth.after)
            out.append((file.old, hunk.lines, stated(hunk), search if hunk != truth else places.EXACT, new if hunk != truth else truth.start))
    return out


def nowhere(_):
    return None


def diff_case(files, spoiled, asks, write_header=header, names="--- a/{0}\n+++ b/{0}\n"):
    diff = unified(spoiled, write_header, names)
    return Case(f"This does what was asked.\n\n{fenced(diff, 'diff')}\nTell me how it goes.\n", outcome(files), asked=asks, diff=diff)


# The formats, unspoiled.


@spoils()
def git_diff(commit, rng):
    diff = unified(commit.files, names="diff --git a/{0} b/{0}\nindex 0123456..789abcd 100644\n--- a/{0}\n+++ b/{0}\n")
    return Case(diff, outcome(commit.files), asked=asked(commit.files), diff=diff)


@spoils()
def fenced_diff(commit, rng):
    return diff_case(commit.files, commit.files, asked(commit.files))


@spoils()
def diff_in_prose(commit, rng):
    parts = [f"In `{file.path}`:\n\n{unified([file])}\n" for file in commit.files]
    diff = unified(commit.files)
    return Case("Here is the change.\n\n" + "".join(parts) + "That is all.\n", outcome(commit.files), asked=asked(commit.files), diff=diff)


def blocks_of(files):
    parts = [
        f"{file.path}\n" + fenced(f"<<<<<<< SEARCH\n{text(hunk.before)}=======\n{text(hunk.after)}>>>>>>> REPLACE\n")
        for file in files
        for hunk in file.hunks
    ]
    return "I change this:\n\n" + "\n".join(parts)


def without_numbers(files, render, spoiled=None, search=places.EXACT):
    """A case in a format that has no line numbers."""
    if any(not hunk.before for file in files for hunk in file.hunks):
        return None
    return Case(render(spoiled or files), outcome(files), asked=asked(spoiled or files, search, nowhere, files))


@spoils()
def blocks(commit, rng):
    return without_numbers(commit.files, blocks_of)


def begin_patch_of(files, head=lambda hunk: "@@"):
    parts = []
    for file in files:
        parts.append(f"*** Update File: {file.path}\n")
        parts += ["".join(f"{line}\n" for line in [head(hunk), *hunk.lines]) for hunk in file.hunks]
    return f"*** Begin Patch\n{''.join(parts)}*** End Patch\n"


@spoils()
def begin_patch(commit, rng):
    return without_numbers(commit.files, begin_patch_of)


@spoils()
def begin_patch_with_anchors(commit, rng):
    def anchored(file, hunk):
        return hunk.heading and sum(line.strip().startswith(hunk.heading.strip()) for line in file.old) == 1

    if not all(anchored(file, hunk) for file in commit.files for hunk in file.hunks):
        return None
    return without_numbers(commit.files, lambda files: begin_patch_of(files, lambda hunk: f"@@ {hunk.heading.strip()}"))


@spoils()
def whole_files(commit, rng):
    if any(len(text(file.new)) > 20_000 or "```" in text(file.new) for file in commit.files):
        return None
    return Case("".join(f"{file.path}\n{fenced(text(file.new))}\n" for file in commit.files), outcome(commit.files))


@spoils()
def json_diff(commit, rng):
    return Case(json.dumps({"diff": unified(commit.files)}), outcome(commit.files), asked=asked(commit.files))


def json_edits_of(files):
    edits = [{"path": f.path, "search": text(h.before), "replace": text(h.after)} for f in files for h in f.hunks]
    return fenced(json.dumps({"reasoning": "As asked.", "edits": edits}, indent=1) + "\n", "json")


@spoils()
def json_edits(commit, rng):
    return without_numbers(commit.files, json_edits_of)


@spoils()
def json_files(commit, rng):
    files = [{"path": file.path, "content": text(file.new)} for file in commit.files]
    return Case(json.dumps({"files": files}), outcome(commit.files))


# Numbers and headers.


def moved(commit, by):
    """A diff whose stated lines are off, all by as much as `by` says for the file."""
    offs = {file.path: by(file) for file in commit.files}
    spoiled = [
        replace(f, hunks=tuple(replace(h, start=max(0, h.start + offs[f.path]), new_start=max(0, h.new_start + offs[f.path])) for h in f.hunks))
        for f in commit.files
    ]
    return spoiled


@spoils()
def numbers_off(commit, rng):
    spoiled = moved(commit, lambda file: rng.choice([-1, 1]) * rng.randint(1, 60))
    return diff_case(commit.files, spoiled, asked(spoiled, truths=commit.files))


@spoils()
def numbers_all_one(commit, rng):
    spoiled = [replace(f, hunks=tuple(replace(h, start=0, new_start=0) for h in f.hunks)) for f in commit.files]
    return diff_case(commit.files, spoiled, asked(spoiled, truths=commit.files))


def miscounted(rng):
    def write(hunk):
        n_old, n_new = (max(1, n + rng.choice([-3, -2, -1, 1, 2, 3])) for n in (len(hunk.before), len(hunk.after)))
        return f"@@ -{hunk.start + 1},{n_old} +{hunk.new_start + 1},{n_new} @@"

    return write


@spoils()
def counts_wrong(commit, rng):
    return diff_case(commit.files, commit.files, asked(commit.files), miscounted(rng))


@spoils()
def counts_missing(commit, rng):
    return diff_case(commit.files, commit.files, asked(commit.files), lambda hunk: f"@@ -{hunk.start + 1} +{hunk.new_start + 1} @@")


@spoils()
def numbers_and_counts_wrong(commit, rng):
    spoiled = moved(commit, lambda file: rng.choice([-1, 1]) * rng.randint(1, 60))
    return diff_case(commit.files, spoiled, asked(spoiled, truths=commit.files), miscounted(rng))


@spoils()
def bare_headers(commit, rng):
    return diff_case(commit.files, commit.files, asked(commit.files, stated=nowhere), lambda hunk: "@@")


@spoils()
def dotted_headers(commit, rng):
    return diff_case(commit.files, commit.files, asked(commit.files, stated=nowhere), lambda hunk: "@@ ... @@")


@spoils()
def no_hunk_header(commit, rng):
    files = [file for file in commit.files if len(file.hunks) == 1]
    if not files or any(file.hunks[0].lines[0].startswith(("--- ", "+++ ")) for file in files):
        return None
    diff = "".join(f"--- a/{file.path}\n+++ b/{file.path}\n" + "".join(f"{line}\n" for line in file.hunks[0].lines) for file in files)
    return Case(fenced(diff, "diff"), outcome(files), asked=asked(files, stated=nowhere), diff=diff)


@spoils()
def no_prefixes(commit, rng):
    return diff_case(commit.files, commit.files, asked(commit.files), names="--- {0}\n+++ {0}\n")


@spoils()
def new_name_only(commit, rng):
    return diff_case(commit.files, commit.files, asked(commit.files), names="+++ b/{0}\n")


@spoils()
def stale_base(commit, rng):
    """The file has grown at its top since the model saw it."""
    n_new = rng.randint(1, 40)
    top = [f"note {rng.getrandbits(40)}" for _ in range(n_new)]
    base = {file.path: text([*top, *file.old]).encode() for file in commit.files}
    after = {file.path: text([*top, *file.new]).encode() for file in commit.files}
    case = diff_case(commit.files, commit.files, [])
    for file in commit.files:
        old = (*top, *file.old)
        case.asked += [(old, h.lines, h.start, places.EXACT, h.start + n_new) for h in file.hunks]
    return replace(case, base=base, after=after)


# The text of the lines.


@spoils()
def trailing_space(commit, rng):
    spoiled = each_line(commit.files, lambda line: line + " " * rng.choice([0, 1, 2, 4]))
    return spoiled and diff_case(commit.files, spoiled, asked(spoiled, places.in_a_row(places.but_trailing_space)))


@spoils()
def lost_space(commit, rng):
    """Context lines have lost the space that marks them, in a hunk where no line reads as another sign for it."""
    if any(line[:1] == " " and re.match(r"[-+\\@*]|diff ", line[1:]) for f in commit.files for h in f.hunks for line in h.lines):
        return None
    asks = asked(commit.files, places.in_a_row(places.but_outer_space))
    spoiled = in_files(commit.files, lambda hunk: [line[1:] if line[0] == " " else line for line in hunk.lines])
    if not spoiled:
        return None
    diff = unified_raw(commit.files, spoiled)
    return Case(fenced(diff, "diff"), outcome(commit.files), asked=asks, diff=diff)


@spoils()
def lost_space_on_blank_lines(commit, rng):
    spoiled = in_files(commit.files, lambda hunk: ["" if line == " " else line for line in hunk.lines])
    if not spoiled:
        return None
    diff = unified_raw(commit.files, spoiled)
    return Case(fenced(diff, "diff"), outcome(commit.files), asked=asked(commit.files), diff=diff)


def unified_raw(files, spoiled):
    """A diff with the headers of the true hunks over lines that may have lost their sign."""
    parts = []
    for file, raw in zip(files, spoiled):
        parts.append(f"--- a/{file.path}\n+++ b/{file.path}\n")
        for hunk, lines in zip(file.hunks, raw.hunks):
            parts.append("".join(f"{line}\n" for line in [header(hunk), *lines.lines]))
    return "".join(parts)


def reindented(line, indent):
    body = line.lstrip(" \t")
    return indent(line[: len(line) - len(body)]) + body if body else line


def tabs_or_spaces(files):
    """The hunks with tabs as four spaces, or indentation by four spaces as tabs: in old lines and new ones."""

    def other(hunk):
        indents = [re.match(r"[ \t]*", line[1:]).group() for line in hunk.lines if line[1:].strip()]
        olds = [re.match(r"[ \t]*", line[1:]).group() for line in hunk.lines if line[1:].strip() and line[0] != "+"]
        if all("\t" not in indent and len(indent) % 4 == 0 for indent in indents) and any(olds):
            change = lambda indent: "\t" * (len(indent) // 4)
        elif all(" " not in indent for indent in indents) and any(olds):
            change = lambda indent: "    " * len(indent)
        else:
            return hunk.lines
        return [line[0] + reindented(line[1:], change) for line in hunk.lines]

    return in_files(files, other)


@spoils()
def tabs(commit, rng):
    spoiled = tabs_or_spaces(commit.files)
    return spoiled and diff_case(commit.files, spoiled, asked(spoiled, places.in_a_row(places.but_outer_space)))


def shifted(files, shift):
    """The hunks moved right as a whole, or left as far as all of their lines let them."""

    def other(hunk):
        lines = [line[1:] for line in hunk.lines if line[1:].strip()]
        n_old = sum(bool(line[1:].strip()) for line in hunk.lines if line[0] != "+")
        if n_old < 2:
            return hunk.lines
        if shift > 0:
            unit = "\t" if any(line.startswith("\t") for line in lines) else " " * shift
            return [line[0] + unit + line[1:] if line[1:].strip() else line for line in hunk.lines]
        indents = [re.match(r"[ \t]*", line).group() for line in lines]
        common = indents[0]
        for indent in indents:
            while not indent.startswith(common):
                common = common[:-1]
        return [line[0] + line[1:].removeprefix(common) if line[1:].strip() else line for line in hunk.lines]

    return in_files(files, other)


@spoils()
def indented_deeper(commit, rng):
    spoiled = shifted(commit.files, rng.choice([2, 4]))
    return spoiled and diff_case(commit.files, spoiled, asked(spoiled, places.in_a_row(places.but_outer_space)))


@spoils()
def indented_less(commit, rng):
    spoiled = shifted(commit.files, 0)
    return spoiled and diff_case(commit.files, spoiled, asked(spoiled, places.in_a_row(places.but_outer_space)))


def typographic(line):
    line = re.sub(r'"([^"]*)"', "\u201c\\1\u201d", line)
    return line.replace("'", "\u2019")


@spoils()
def typography(commit, rng):
    def shows(hunk):
        return any(typographic(line) != line for line in hunk.before)

    if any(set("\u201c\u201d\u2019") & set(text(file.new)) for file in commit.files):
        return None
    spoiled = in_files(commit.files, lambda hunk: [line[0] + typographic(line[1:]) for line in hunk.lines] if shows(hunk) else hunk.lines)
    return spoiled and diff_case(commit.files, spoiled, asked(spoiled, places.in_a_row(places.but_typography)))


def with_forgotten_plus(files, rng):
    """One new line of one hunk as context: inside the hunk, and no blank one."""
    spots = [
        (f, h, i)
        for f, file in enumerate(files)
        for h, hunk in enumerate(file.hunks)
        for i, line in enumerate(hunk.lines)
        if line[0] == "+" and line[1:].strip() and 0 < i < len(hunk.lines) - 1
    ]
    if not spots:
        return None
    at_file, at_hunk, at_line = rng.choice(spots)
    hunk = files[at_file].hunks[at_hunk]
    lines = (*hunk.lines[:at_line], " " + hunk.lines[at_line][1:], *hunk.lines[at_line + 1 :])
    return with_hunk(files, at_file, at_hunk, lines)


def with_hunk(files, at_file, at_hunk, lines):
    hunks = list(files[at_file].hunks)
    hunks[at_hunk] = replace(hunks[at_hunk], lines=tuple(lines))
    return [replace(file, hunks=tuple(hunks)) if idx == at_file else file for idx, file in enumerate(files)]


@spoils()
def forgotten_plus(commit, rng):
    spoiled = with_forgotten_plus(commit.files, rng)
    if not spoiled:
        return None
    diff = unified_raw(commit.files, spoiled)
    return Case(fenced(diff, "diff"), outcome(commit.files), asked=laid_out(spoiled, commit.files, places.forgotten_plus(1)), diff=diff)


@spoils()
def forgotten_plus_bare_header(commit, rng):
    spoiled = with_forgotten_plus(commit.files, rng)
    asks = spoiled and laid_out(spoiled, commit.files, places.forgotten_plus(None), nowhere)
    return spoiled and diff_case(commit.files, spoiled, asks, lambda hunk: "@@")


def without_lines(files, rng, may_skip):
    """The hunks without context lines of a kind, save at their edges and beside changes."""

    def other(hunk):
        def goes(idx):
            line = hunk.lines[idx]
            return (
                0 < idx < len(hunk.lines) - 1
                and line[0] == " "
                and may_skip.fullmatch(line[1:])
                and hunk.lines[idx - 1][0] == " " == hunk.lines[idx + 1][0]
            )

        return [line for idx, line in enumerate(hunk.lines) if not goes(idx)]

    return in_files(files, other)


def skipping(commit, rng, may_skip, n_context):
    files = commit.with_context(n_context)
    spoiled = without_lines(files, rng, may_skip)
    if not spoiled:
        return None
    return diff_case(files, spoiled, laid_out(spoiled, files, places.skipped(MAY_BE_SKIPPED)))


MAY_BE_SKIPPED = re.compile(f"({places.BLANK.pattern}$)|({places.COMMENT.pattern})")


@spoils()
def skipped_blank_lines(commit, rng):
    return skipping(commit, rng, places.BLANK, 4)


@spoils()
def skipped_comments(commit, rng):
    return skipping(commit, rng, re.compile(places.COMMENT.pattern + ".*"), 8)


@spoils()
def elided_context(commit, rng):
    files = commit.with_context(8)
    dots = "..."

    def other(hunk):
        n_lead = next(i for i, line in enumerate(hunk.lines) if line[0] != " ")
        if n_lead < 6:
            return hunk.lines
        return [*hunk.lines[:2], f" {dots}", *hunk.lines[n_lead - 2 :]]

    spoiled = in_files(files, other)
    return spoiled and diff_case(files, spoiled, laid_out(spoiled, files, places.elided(dots)))


@spoils()
def short_context(commit, rng):
    files = commit.with_context(1)
    return diff_case(files, files, asked(files, stated=nowhere), lambda hunk: "@@")


@spoils()
def no_context(commit, rng):
    files = commit.with_context(0)
    if any(not hunk.drops() for file in files for hunk in file.hunks):
        return None
    return diff_case(files, files, asked(files))


def reworded(line, rng):
    words = [match for match in re.finditer(r"[A-Za-z]{4,}", line)]
    if not words:
        return None
    word = rng.choice(words)
    return f"{line[: word.start()]}{word.group()[::-1]}{line[word.end() :]}" if word.group() != word.group()[::-1] else None


@spoils()
def misquoted_outer_context(commit, rng):
    spots = []
    for f, file in enumerate(commit.files):
        for h, hunk in enumerate(file.hunks):
            for edge, inner in ((0, 1), (-1, -2)):
                if len(hunk.lines) > 4 and hunk.lines[edge][0] == " " == hunk.lines[inner][0]:
                    new = reworded(hunk.lines[edge][1:], rng)
                    if new and new not in file.old and len(hunk.lines[edge]) > 20:
                        spots.append((f, h, edge % len(hunk.lines), new))
    if not spots:
        return None
    f, h, edge, new = rng.choice(spots)
    lines = list(commit.files[f].hunks[h].lines)
    lines[edge] = f" {new}"
    spoiled = with_hunk(commit.files, f, h, lines)
    asks = asked(commit.files, stated=nowhere)
    number = sum(len(file.hunks) for file in commit.files[:f]) + h
    asks[number] = (commit.files[f].old, tuple(lines), None, places.misquoted_edge, commit.files[f].hunks[h].start)
    return diff_case(commit.files, spoiled, asks)


# Bytes that the reply does not show.


@spoils()
def crlf_file(commit, rng):
    case = diff_case(commit.files, commit.files, asked(commit.files))
    base = {file.path: text(file.old).replace("\n", "\r\n").encode() for file in commit.files}
    return replace(case, base=base, after={path: new.replace(b"\n", b"\r\n") for path, new in case.after.items()})


@spoils()
def byte_order_mark(commit, rng):
    case = diff_case(commit.files, commit.files, asked(commit.files))
    base = {file.path: b"\xef\xbb\xbf" + text(file.old).encode() for file in commit.files}
    return replace(case, base=base, after={path: b"\xef\xbb\xbf" + new for path, new in case.after.items()})


@spoils()
def no_final_newline(commit, rng):
    if not all(file.old and file.new and file.new[-1] for file in commit.files):
        return None
    case = without_numbers(commit.files, blocks_of)
    base = {file.path: text(file.old)[:-1].encode() for file in commit.files}
    return case and replace(case, base=base, after={path: new[:-1] for path, new in case.after.items()})


# Applied before, said twice, said in another order.


def is_visible(commit):
    """Whether the result could not be taken for something still to be done."""
    return all(hunk.adds() and any(line[1:].strip() for line in hunk.lines if line[0] == "+") for f in commit.files for hunk in f.hunks)


@spoils()
def applied_already(commit, rng):
    if not is_visible(commit):
        return None
    case = diff_case(commit.files, commit.files, [])
    for file in commit.files:
        if any(places.EXACT(file.new, hunk.lines) for hunk in file.hunks):
            return None
    return replace(case, base=dict(case.after))


@spoils()
def hunk_said_twice(commit, rng):
    twice = [replace(file, hunks=tuple(hunk for hunk in file.hunks for _ in range(2))) for file in commit.files]
    return diff_case(commit.files, twice, asked(commit.files))


@spoils()
def hunks_in_another_order(commit, rng):
    if all(len(file.hunks) < 2 for file in commit.files):
        return None
    turned = [replace(file, hunks=file.hunks[::-1]) for file in commit.files]
    return diff_case(commit.files, turned, asked(turned, stated=nowhere), lambda hunk: "@@ @@")


# Two things at once, and other formats.


@spoils()
def numbers_off_and_trailing_space(commit, rng):
    spoiled = each_line(moved(commit, lambda file: rng.randint(5, 60)), lambda line: line + " " * rng.choice([0, 1, 2]))
    return spoiled and diff_case(commit.files, spoiled, asked(spoiled, places.in_a_row(places.but_trailing_space), nowhere, commit.files))


@spoils()
def bare_header_and_deeper(commit, rng):
    spoiled = shifted(commit.files, 4)
    return spoiled and diff_case(commit.files, spoiled, asked(spoiled, places.in_a_row(places.but_outer_space), nowhere), lambda hunk: "@@")


@spoils()
def blocks_indented_less(commit, rng):
    spoiled = shifted(commit.files, 0)
    return spoiled and without_numbers(commit.files, blocks_of, spoiled, places.in_a_row(places.but_outer_space))


@spoils()
def blocks_with_trailing_space(commit, rng):
    spoiled = each_line(commit.files, lambda line: line + " " * rng.choice([0, 1, 2]) if line.strip() else line)
    # A context line stands on both sides, so a block would ask for the space.
    if not spoiled:
        return None
    both = [replace(s, hunks=tuple(Sides(a.lines, b.lines) for a, b in zip(s.hunks, f.hunks))) for s, f in zip(spoiled, commit.files)]
    case = without_numbers(commit.files, lambda _: blocks_of(both))
    return case and replace(case, asked=asked(spoiled, places.in_a_row(places.but_trailing_space), nowhere))


@dataclass(frozen=True)
class Sides:
    """A block whose search text is of one hunk and its replacement of another."""

    old_lines: tuple
    new_lines: tuple

    @property
    def before(self):
        return [line[1:] for line in self.old_lines if line[0] != "+"]

    @property
    def after(self):
        return [line[1:] for line in self.new_lines if line[0] != "-"]


@spoils()
def begin_patch_with_tabs(commit, rng):
    spoiled = tabs_or_spaces(commit.files)
    return spoiled and without_numbers(commit.files, begin_patch_of, spoiled, places.in_a_row(places.but_outer_space))


@spoils()
def json_edits_with_typography(commit, rng):
    if any(set("\u201c\u201d\u2019") & set(text(file.new)) for file in commit.files):
        return None
    shows = lambda hunk: any(typographic(line) != line for line in hunk.before)
    spoiled = in_files(commit.files, lambda hunk: [line[0] + typographic(line[1:]) for line in hunk.lines] if shows(hunk) else hunk.lines)
    return spoiled and without_numbers(commit.files, json_edits_of, spoiled, places.in_a_row(places.but_typography))


# Replies that nobody could apply without guessing.


def refusal(reply, diff=None, base=None):
    return Case(reply, {}, base or {}, diff=diff)


@spoils(AMBIGUOUS)
def copies_and_no_number(commit, rng):
    """Everything stands twice in the file, and the reply does not say which is meant."""
    base = {file.path: text([*file.old, *file.old]).encode() for file in commit.files}
    diff = unified(commit.files, lambda hunk: "@@")
    twice = lambda f, h: len(places.EXACT((*f.old, *f.old), h.lines)) > 1
    if not all(twice(file, hunk) for file in commit.files for hunk in file.hunks):
        return None
    return refusal(fenced(diff, "diff"), diff, base)


@spoils(AMBIGUOUS)
def copies_in_blocks(commit, rng):
    base = {file.path: text([*file.old, *file.old]).encode() for file in commit.files}
    if any(len(places.EXACT((*f.old, *f.old), h.lines)) < 2 or not h.before for f in commit.files for h in f.hunks):
        return None
    return refusal(blocks_of(commit.files), None, base)


@spoils(AMBIGUOUS)
def addition_without_context(commit, rng):
    files = commit.with_context(0)
    if all(hunk.drops() for file in files for hunk in file.hunks):
        return None
    diff = unified(files, lambda hunk: "@@")
    return refusal(fenced(diff, "diff"), diff)


@spoils(AMBIGUOUS)
def misquoted_removed_line(commit, rng):
    spots = []
    for f, file in enumerate(commit.files):
        for h, hunk in enumerate(file.hunks):
            for i, line in enumerate(hunk.lines):
                new = reworded(line[1:], rng) if line[0] == "-" else None
                if new and new not in file.old and new not in file.new:
                    spots.append((f, h, i, new))
    if not spots:
        return None
    f, h, i, new = rng.choice(spots)
    lines = list(commit.files[f].hunks[h].lines)
    lines[i] = f"-{new}"
    diff = unified(with_hunk(commit.files, f, h, lines))
    return refusal(fenced(diff, "diff"), diff)


def marked(commit, rng, write):
    """One new line replaced by what `write` makes of its indentation."""
    spots = [(f, h, i) for f, file in enumerate(commit.files) for h, hunk in enumerate(file.hunks) for i, line in enumerate(hunk.lines) if line[0] == "+"]
    if not spots:
        return None
    f, h, i = rng.choice(spots)
    lines = list(commit.files[f].hunks[h].lines)
    indent = re.match(r"[ \t]*", lines[i][1:]).group()
    lines[i : i + 1] = ["+" + line for line in write(indent)]
    diff = unified(with_hunk(commit.files, f, h, lines))
    return refusal(fenced(diff, "diff"), diff)


@spoils(AMBIGUOUS)
def placeholder(commit, rng):
    mark = "#" if commit.files[0].path.endswith((".py", ".rb", ".sh", ".toml", ".yml", ".yaml")) else "//"
    words = rng.choice(["... existing code ...", "rest of the code unchanged", "... (rest of the function remains the same)"])
    return marked(commit, rng, lambda indent: [f"{indent}{mark} {words}"])


@spoils(AMBIGUOUS)
def leaked_marker(commit, rng):
    return marked(commit, rng, lambda indent: [rng.choice(["<<<<<<< SEARCH", ">>>>>>> REPLACE", "*** End Patch"])])


@spoils(AMBIGUOUS)
def conflict_markers(commit, rng):
    return marked(commit, rng, lambda indent: ["<<<<<<< HEAD", f"{indent}one", "=======", f"{indent}other", ">>>>>>> theirs"])


@spoils(AMBIGUOUS)
def cut_off_diff(commit, rng):
    """The reply ends in the midst of its last hunk, after the first change."""
    diff = fenced(unified(commit.files), "diff").splitlines(keepends=True)[:-1]
    last = commit.files[-1].hunks[-1]
    first_change = next(i for i, line in enumerate(last.lines) if line[0] != " ")
    n_cut = rng.randint(1, len(last.lines) - first_change - 1) if len(last.lines) - first_change > 1 else 0
    return refusal("".join(diff[: len(diff) - n_cut])) if n_cut else None


@spoils(AMBIGUOUS)
def cut_off_blocks(commit, rng):
    if any(not hunk.before for file in commit.files for hunk in file.hunks):
        return None
    reply = blocks_of(commit.files).splitlines(keepends=True)
    return refusal("".join(reply[: len(reply) - 2 - rng.randint(0, len(commit.files[-1].hunks[-1].after))]))


@spoils(AMBIGUOUS)
def cut_off_json(commit, rng):
    reply = json_edits_of(commit.files)
    return refusal(reply[: len(reply) - rng.randint(8, 60)])


@spoils(AMBIGUOUS)
def another_file(commit, rng):
    """The diff of one file under the name of another."""
    if len(commit.files) < 2:
        return None
    one, other = rng.sample(commit.files, 2)
    there = {line.strip() for line in other.old}
    if not any(line[0] == "-" and line[1:].strip() not in there for hunk in one.hunks for line in hunk.lines):
        return None
    diff = unified([replace(one, path=other.path)])
    return refusal(fenced(diff, "diff"), diff)


@spoils(AMBIGUOUS)
def fragment_of_a_file(commit, rng):
    file = commit.files[0]
    third = len(file.old) // 3
    kept = file.old[third : 2 * third]
    telling = lambda lines: sum(any(c.isalnum() for c in line) for line in lines)
    if telling(file.old) < 20 or "```" in text(kept):
        return None
    return refusal(f"{file.path}\n{fenced(text(kept))}")
