"""Measures how `patchfarm patch apply` takes spoiled replies to real commits, beside other tools, and how fast.

    scripts/bench patch REPO… [--cases N] [--only CLASS…] [--seed N] [--no-rivals] [--no-speed] [--keep FOLDER]

REPO is a bare clone. Every class takes up to N commits of it. What has one reading is settled before any tool runs: the class says
whether it is recoverable, and a brute-force search counts the places. The process fails if anything is written that no reply meant.
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile

import bench_patch_places as places
import bench_patch_speed as speed
import bench_patch_tools as tools
from bench_patch_commits import Repo
from bench_patch_spoil import AMBIGUOUS, CLASSES

# Classes that few commits lend themselves to end here.
COMMITS_A_CASE = 5
# A class with fewer cases proves little, and is marked so.
FEW = 100
COLUMNS = ("cases", "excluded", "right", "refused rightly", "missed", "silently wrong")


def main():
    args = arguments()
    cache = os.environ.get("PATCHFARM_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "patchfarm")
    binary = args.binary or build()
    rivals = {} if args.no_rivals else tools.rivals(tools.cached_mpatch(cache))
    good = True
    for clone in args.repos:
        with tempfile.TemporaryDirectory(prefix="bench-patch-") as folder:
            scratch = tools.Scratch(os.path.join(folder, "scratch.git"), clone)
            cases, n_commits = collect(Repo(clone), args)
            run(binary, scratch, cases, args.keep)
            by_rival = {name: tools.run_rival(*how, cases) for name, how in rivals.items()}
            good = report(clone, cases, n_commits, by_rival) and good
            if not args.no_speed:
                plain = [case for case in cases if case.name == "git-diff" and case.outcome == "right"]
                good = speed.measure(binary, scratch, plain) and good
    sys.exit(0 if good else 1)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench patch", description=__doc__.split("\n", 1)[0])
    parser.add_argument("repos", nargs="+", metavar="REPO", help="a bare clone")
    parser.add_argument("--cases", type=int, default=200, help="cases of every class (default 200)")
    parser.add_argument("--only", nargs="+", choices=CLASSES, metavar="CLASS", help="only these classes")
    parser.add_argument("--seed", type=int, default=1, help="which commits and which spots are taken (default 1)")
    parser.add_argument("--no-rivals", action="store_true", help="only patchfarm")
    parser.add_argument("--no-speed", action="store_true", help="only what is right")
    parser.add_argument("--keep", metavar="FOLDER", help="write every case that was missed or wrong below this folder")
    parser.add_argument("--binary", help="a built patchfarm (default: build one)")
    return parser.parse_args()


def build():
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "--bin", "patchfarm"], check=True)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release", "patchfarm")


def collect(repo, args):
    """Spoils commit after commit until every class has its cases; settles what each case says before anything runs it."""
    cases, counts = [], collections.Counter()
    names = args.only or list(CLASSES)
    n_commits = 0
    for commit in repo.commits(random.Random(args.seed)):
        wanting = [name for name in names if counts[name] < args.cases]
        if not wanting or n_commits == COMMITS_A_CASE * args.cases:
            break
        n_commits += 1
        for name in wanting:
            declared, spoil = CLASSES[name]
            case = spoil(commit, random.Random(f"{args.seed} {commit.oid} {name}"))
            if case is None:
                continue
            case.name, case.commit = name, commit
            case.reading = AMBIGUOUS if declared == AMBIGUOUS else settled(case)
            counts[name] += 1
            cases.append(case)
    return cases, n_commits


def settled(case):
    found = {places.reading(search, old, lines, stated, truth) for old, lines, stated, search, truth in case.asked}
    return "one" if found <= {"one"} else "other" if found <= {"one", "other"} else "several"


def run(binary, scratch, cases, keep):
    """Runs patchfarm over all cases, with trees written, and notes what came of each."""
    modes = [{file.path: file.mode for file in case.commit.files} for case in cases]
    as_files = lambda mode, files: {path: (mode[path], content) for path, content in files.items()}
    bases = scratch.write([(case.commit.base, as_files(mode, case.base)) for case, mode in zip(cases, modes)])
    afters = scratch.write([(base, as_files(mode, case.after)) for (base, _), case, mode in zip(bases, cases, modes)])
    answers = tools.patchfarm(binary, scratch.folder, [(base, case.reply) for (base, _), case in zip(bases, cases)])
    for case, answer, (_, tree) in zip(cases, answers, afters, strict=True):
        case.answer = answer
        case.outcome = judge(case, answer, tree)
        if keep and case.outcome in ("missed", "silently wrong"):
            write_down(keep, case)


def judge(case, answer, tree):
    applied = answer["status"] in ("applied", "unchanged")
    is_meant = applied and answer["tree"] == tree and case.reading != AMBIGUOUS
    if applied and not is_meant:
        return "excluded" if case.reading == "other" else "silently wrong"
    if case.reading == "one":
        return "right" if is_meant else "missed"
    return "refused rightly" if case.reading == AMBIGUOUS else "excluded"


def write_down(keep, case):
    folder = os.path.join(keep, case.outcome.replace(" ", "-"), case.name, case.commit.oid[:10])
    for side, files in (("before", case.files()), ("after", case.after)):
        for path, content in files.items():
            place = os.path.join(folder, side, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(content)
    for name, content in (("reply", case.reply), ("answer", json.dumps(case.answer, indent=1, ensure_ascii=False))):
        with open(os.path.join(folder, name), "w", newline="") as file:
            file.write(content)


def percent(part, whole):
    return f"{100 * part / whole:.2f} %" if whole else "–"


def report(clone, cases, n_commits, by_rival):
    """Prints the table; tells whether the goals hold."""
    print(f"\n{clone}: {len(cases)} replies to {n_commits} commits")
    heads = [*COLUMNS, *(f"{name}: right/wrong" for name in by_rival)]
    print(f"{'class':34}" + "".join(f"{head:>17}" if head in COLUMNS else f"{head:>34}" for head in heads))
    total, good = collections.Counter(), True
    for name in dict.fromkeys(case.name for case in cases):
        idxs = [idx for idx, case in enumerate(cases) if case.name == name]
        counts = collections.Counter(cases[idx].outcome for idx in idxs)
        counts["cases"] = len(idxs)
        total += counts
        row = f"{name:34}" + "".join(f"{counts[column]:>17}" for column in COLUMNS)
        for results in by_rival.values():
            mine = collections.Counter(results[idx] for idx in idxs)
            row += f"{mine['right']:>25} / {mine['wrong']:>6}" if mine[None] < len(idxs) else f"{'–':>34}"
        asked = counts["right"] + counts["missed"]
        good = good and counts["right"] >= 0.95 * asked
        flag = "  few" if len(idxs) < FEW else ""
        print(f"{row}  {percent(counts['right'], asked):>9}{flag}")
    asked = total["right"] + total["missed"]
    print(f"{'all':34}" + "".join(f"{total[column]:>17}" for column in COLUMNS) + f"  right: {percent(total['right'], asked)}")
    recoverable = sum(CLASSES[case.name][0] != AMBIGUOUS for case in cases)
    print(f"excluded, because counting found another number of readings than one: {percent(total['excluded'], recoverable)}")
    return good and not total["silently wrong"] and total["right"] >= 0.995 * asked


if __name__ == "__main__":
    main()
