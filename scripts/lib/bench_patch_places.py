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
        before = tuple(key(line[1:]) for line in lines if line[0] != "+")
        have = tuple(old) if key is exact else tuple(map(key, old))
        if not before:
            return {start: None for start in range(len(old) + 1)}
        # Any line would do to look for; a long one stands in few places.
        pivot = max(range(len(before)), key=lambda idx: len(before[idx]))
        found, at = {}, -1
        for _ in range(have.count(before[pivot])):
            at = have.index(before[pivot], at + 1)
            start = at - pivot
            if start >= 0 and have[start : start + len(before)] == before:
                found[start] = None
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

    def lay(old, lines, idx, at, written, out, dead):
        """Puts every text into `out` that line `idx` and all after it can come to from `at` on; tells whether there is any."""
        if idx == len(lines):
            out.add((at, tuple(written)))
            return True
        if len(out) > MANY or (idx, at) in dead:
            return False
        sign, text = lines[idx][0], lines[idx][1:]
        alive = False
        if sign == "+":
            alive |= lay(old, lines, idx + 1, at, [*written, text], out, dead)
        elif at < len(old) and old[at] == text:
            alive |= lay(old, lines, idx + 1, at + 1, [*written, text] if sign == " " else written, out, dead)
        if idx and at < len(old) and may_skip.match(old[at]):
            # A line that the reply left out stays, or is dropped where all around it is.
            alive |= lay(old, lines, idx, at + 1, [*written, old[at]], out, dead)
            if sign == "-" == lines[idx - 1][0]:
                alive |= lay(old, lines, idx, at + 1, written, out, dead)
        if not alive:
            dead.add((idx, at))
        return alive

    def search(old, lines):
        before = [line[1:] for line in lines if line[0] != "+"]
        found = {}
        for start in (at for at, line in enumerate(old) if before and line == before[0]):
            ways = set()
            lay(old, lines, 0, start, [], ways, set())
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
