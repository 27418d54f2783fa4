"""Judges a run by what it left behind on the remote and on Kafka; asks nothing of the farm."""

import wire


def results(tasks, found):
    """What is wrong with the results, as text."""
    problems = list(found.problems)
    for id in found.records.keys() - tasks.keys():
        problems.append(f"{id}: a result for a task that nobody asked for")
    for id in tasks:
        records = found.records.get(id, [])
        if not records:
            problems.append(f"{id}: no result")
            continue
        if len(set(records)) > 1:
            problems.append(f"{id}: {len(set(records))} different results")
        for record in set(records):
            result = wire.result(record)
            if result["status"] != "SUCCESS":
                problems.append(f"{id}: {result['status']}: {' / '.join(result['notes'])[:2000]}")
            elif result["branch_name"] != f"agt/{id}":
                problems.append(f"{id}: its branch is called {result['branch_name']!r}")
            elif not result["commit_sha"]:
                problems.append(f"{id}: SUCCESS without a commit")
    return problems


def statuses(found):
    """How many tasks ended how."""
    last = [wire.result(records[-1])["status"] for records in found.records.values()]
    return {status: last.count(status) for status in sorted(set(last))}


def branches(tasks, found, git):
    """What is wrong with the remote, as text."""
    problems = []
    listed = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/agt/").splitlines()
    heads = {name.removeprefix("refs/heads/agt/"): commit for name, commit in map(str.split, listed)}
    for id in heads.keys() - tasks.keys():
        problems.append(f"agt/{id}: a branch that no task has")
    for id, task in tasks.items():
        named = {wire.result(record)["commit_sha"] for record in found.records.get(id, [])} - {""}
        if id not in heads:
            if named:
                problems.append(f"{id}: no branch, though its result names {' '.join(named)}")
            continue
        if named != {heads[id]}:
            problems.append(f"{id}: its branch is at {heads[id]}, its result names {' '.join(named) or 'nothing'}")
        tree, parents = git("show", "--no-patch", "--format=%T%n%P", heads[id]).split("\n")
        if tree != task.sample.tree:
            differ = git("diff", "--stat", task.sample.tree, tree)
            problems.append(f"{id} ({task.form}): its tree is {tree}, expected {task.sample.tree}:\n{differ}")
        if parents != task.sample.base:
            problems.append(f"{id}: its parents are {parents}, expected {task.sample.base}")
    return problems
