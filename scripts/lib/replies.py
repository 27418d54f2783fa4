"""Writes a commit as a model would reply it, in one of several forms, and only where that form has one reading."""

import json
import re

# A line that ends or divides a search/replace block.
MARKER = re.compile(r"={5,9}\s*|[<>+-]{5,9}\s*(SEARCH|ORIGINAL|REPLACE|UPDATED)[<>\s]*")
MAX_WHOLE_CHARS = 8_000
CONTEXT_LINES = 3


def write(form, sample, git):
    """The reply, or None if the sample cannot be said in this form."""
    if form != "diff" and form != "json-diff" and not all(is_plain(change) for change in sample.changes):
        return None
    return FORMS[form](sample, git)


def is_plain(change):
    """Whether lines that end in a newline tell all of both sides."""
    sides = [side for side in (change.old, change.new) if side is not None]
    return all(side.endswith("\n") and "\r" not in side for side in sides)


def fenced(text, info=""):
    longest = max((len(run) for run in re.findall(r"`+|~+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{info}\n{text}{fence}\n"


def diff(sample, git):
    return "This does it.\n\n" + fenced(sample.diff, "diff")


def json_diff(sample, git):
    return json.dumps({"diff": sample.diff, "reasoning": "It does what the goal asks."}, ensure_ascii=False)


def blocks(sample, git):
    """Search/replace blocks; a removed file is a diff, as the prompt asks."""
    parts = []
    for change in sample.changes:
        if change.new is None:
            parts.append(fenced(diff_of(sample, change, git), "diff"))
            continue
        pieces = edits(sample, change, git)
        if pieces is None or any(map(MARKER.fullmatch, "\n".join(map("\n".join, pieces)).split("\n"))):
            return None
        for search, replace in pieces:
            block = fenced(f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n")
            parts.append(f"{change.path}\n{block}")
    return "I change what the goal names.\n\n" + "\n".join(parts)


def json_edits(sample, git):
    """The JSON form that the prompt describes; it has no way to remove a file."""
    reply = {"edits": [], "files": [], "reasoning": "It does what the goal asks.", "testCommands": []}
    for change in sample.changes:
        if change.new is None:
            return None
        if change.old is None:
            reply["files"].append({"path": change.path, "content": change.new})
            continue
        pieces = edits(sample, change, git)
        if pieces is None:
            return None
        reply["edits"] += [{"path": change.path, "search": s, "replace": r} for s, r in pieces]
    return fenced(json.dumps(reply, indent=1) + "\n", "json")


def whole(sample, git):
    if any(change.new is None or len(change.new) > MAX_WHOLE_CHARS for change in sample.changes):
        return None
    return "The whole files:\n\n" + "\n".join(f"{change.path}\n{fenced(change.new)}" for change in sample.changes)


FORMS = {"diff": diff, "blocks": blocks, "whole": whole, "json-edits": json_edits, "json-diff": json_diff}


def edits(sample, change, git):
    """Pairs of old and new text, each old one standing in exactly one place of the file; None if there are none."""
    if change.old is None:
        return [("", change.new)]
    old, new = change.old.split("\n")[:-1], change.new.split("\n")[:-1]
    spans = [[a - CONTEXT_LINES, b + CONTEXT_LINES, c - CONTEXT_LINES] for a, b, c in changed(sample, change, git)]
    while True:
        spans = joined([[max(lo, 0), min(hi, len(old)), new_lo - min(lo, 0)] for lo, hi, new_lo in spans])
        unclear = [span for span in spans if not stands_once(change.old, old[span[0] : span[1]])]
        if not unclear:
            break
        for span in unclear:
            if span[0] == 0 and span[1] == len(old):
                return None
            span[:] = [span[0] - 1, span[1] + 1, span[2] - 1]
    pairs = []
    for at, (lo, hi, new_lo) in enumerate(spans):
        # Up to the next span, nothing differs.
        next_lo, next_new = (spans[at + 1][0], spans[at + 1][2]) if at + 1 < len(spans) else (len(old), len(new))
        new_hi = next_new - (next_lo - hi)
        pairs.append(("".join(f"{l}\n" for l in old[lo:hi]), "".join(f"{l}\n" for l in new[new_lo:new_hi])))
    return pairs


def changed(sample, change, git):
    """For each hunk without context: its lines of the old file, from and to, and where the new ones begin."""
    text = diff_of(sample, change, git, "-U0")
    for a, n_old, c, n_new in re.findall(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", text, re.MULTILINE):
        n_old, n_new = (1 if n == "" else int(n) for n in (n_old, n_new))
        # Where a side has no lines, git names the line before.
        start, new_start = (int(a) if n_old == 0 else int(a) - 1), (int(c) if n_new == 0 else int(c) - 1)
        yield start, start + n_old, new_start


def diff_of(sample, change, git, *options):
    return git.bytes("diff", *options, "--no-renames", sample.base, sample.commit, "--", change.path).decode()


def joined(spans):
    """Spans that touch become one."""
    result = []
    for span in spans:
        if result and span[0] <= result[-1][1]:
            result[-1][1] = max(result[-1][1], span[1])
        else:
            result.append(list(span))
    return result


def stands_once(text, lines):
    search = "".join(f"{line}\n" for line in lines)
    first = text.find(search)
    return bool(search.strip()) and first >= 0 and text.find(search, first + 1) < 0
