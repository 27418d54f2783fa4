"""Counts by brute force the readings that a spoiled hunk has in its file. Shares nothing with the engine: no index, no ladder.

Every search answers with all readings as {place: lines that stand there afterwards as (start, end, new lines)}. What the spoiler
did is known here, so only that is forgiven, and nothing else.
"""

import re

BLANK = re.compile(r"\s*")
COMMENT = re.compile(r"\s*(#($|[ #!])|//|/\*|\* |\*$|\*/|-- |<!--|;;|% )")
PLAIN = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2026": "..."})
MANY = 50


def exact(line):
    return line


def but_trailing_space(line):
    return line.rstrip()


def but_outer_space(line):
    return line.strip()


def but_typography(line):
    return line.translate(PLAIN)


def in_a_row(key=exact):
    """Readings where all old lines stand in a row, but for what `key` forgets."""

    def search(old, lines):
        before = [key(line[1:]) for line in lines if line[0] != "+"]
        have = [key(line) for line in old]
        if not before:
            return {start: None for start in range(len(old) + 1)}
        found, at = {}, -1
        while before and before[0] in have[at + 1 :]:
            at = have.index(before[0], at + 1)
            if have[at : at + len(before)] == before:
                found[at] = None
        return found

    return search


def result(old, start, end, new):
    return (*old[:start], *new, *old[end:])


def forgotten_plus(n_forgotten):
    """Readings where so many context lines are new ones; None is any number from 0 to 1."""

    def search(old, lines):
        keeps = [idx for idx, line in enumerate(lines) if line[0] == " "]
        choices = [[]] if n_forgotten is None else []
        choices += [[idx] for idx in keeps]
        found = {}
        for new_ones in choices:
            before = [line[1:] for idx, line in enumerate(lines) if line[0] != "+" and idx not in new_ones]
            after = [line[1:] for line in lines if line[0] != "-"]
            for start in in_a_row()(old, [f" {line}" for line in before]):
                found.setdefault(result(old, start, start + len(before), after), start)
        return found

    return search


def skipped(may_skip):
    """Readings where the file has lines between those of the hunk that the reply may have left out."""

    def lay(old, lines, idx, at, written, started, out):
        if len(out) > MANY:
            return
        if idx == len(lines):
            out.add((at, tuple(written)))
            return
        sign, text = lines[idx][0], lines[idx][1:]
        if sign == "+":
            lay(old, lines, idx + 1, at, [*written, text], started, out)
        elif at < len(old) and old[at] == text:
            lay(old, lines, idx + 1, at + 1, [*written, text] if sign == " " else written, True, out)
        if started and at < len(old) and may_skip.match(old[at]):
            # A line that the reply left out stays, or is dropped where all around it is.
            lay(old, lines, idx, at + 1, [*written, old[at]], started, out)
            if idx and "-" == sign == lines[idx - 1][0]:
                lay(old, lines, idx, at + 1, written, started, out)

    def search(old, lines):
        before = [line[1:] for line in lines if line[0] != "+"]
        found = {}
        for start in (at for at, line in enumerate(old) if before and line == before[0]):
            ways = set()
            lay(old, lines, 0, start, [], False, ways)
            for end, written in ways:
                found.setdefault(result(old, start, end, written), start)
        return found

    return search


def elided(dots):
    """Readings where a line of dots stands for one or more lines of the file."""

    def search(old, lines):
        parts, part = [], []
        for line in [*lines, None]:
            if line is None or line[1:].strip() == dots:
                parts.append(part)
                part = []
            else:
                part.append(line)
        ways = [((), 0)]
        for part in parts:
            places = sorted(in_a_row()(old, part))
            n_before = sum(line[0] != "+" for line in part)
            ways = [
                ((*chosen, at), at + n_before) for chosen, end in ways for at in places if at > end or not chosen
            ][:MANY]
        found = {}
        for chosen, _ in ways:
            new, at = list(old), len(old)
            for part, start in reversed(list(zip(parts, chosen))):
                n_before = sum(line[0] != "+" for line in part)
                new[start : start + n_before] = [line[1:] for line in part if line[0] != "-"]
            found.setdefault(tuple(new), chosen[0])
        return found

    return search


def misquoted_edge(old, lines):
    """Readings where the first or the last line may read otherwise in the file."""
    found = {}
    before = [line[1:] for line in lines if line[0] != "+"]
    for start in range(len(old) - len(before) + 1):
        window = old[start : start + len(before)]
        if list(window[1:-1]) == before[1:-1] and (window[0] == before[0] or window[-1] == before[-1]):
            found[start] = None
    return found


def clearly_nearest(places, stated):
    """The place that a stated line points at, if it does so beyond doubt."""
    by_distance = sorted(places, key=lambda at: abs(at - stated))
    first, second = (abs(at - stated) for at in by_distance[:2])
    return by_distance[0] if first <= 3 and second >= 20 and second >= 10 * first else None


def reading(search, old, lines, stated, truth):
    """What the hunk says: "one" thing and that is the truth, "several", or just one "other" thing.

    `truth` is the place it was taken from, or the whole text that must come out for searches that lay lines out.
    """
    found = search(old, lines)
    if len(found) > 1 and stated is not None:
        places = [at if isinstance(at, int) else start for at, start in found.items()]
        if search is EXACT and stated in places:
            nearest = stated
        else:
            nearest = clearly_nearest(places, stated) if len(set(places)) == len(places) else None
        found = {key: at for key, at in found.items() if (key if isinstance(key, int) else at) == nearest}
    if len(found) != 1:
        return "several"
    return "one" if truth in found else "other"


EXACT = in_a_row()
