"""Protobuf by hand, as much as foreign programs need: tasks as a producer writes them, and of a result the five
fields that every consumer may count on."""

RESULT = {1: "task_id", 2: "commit_sha", 3: "status", 4: "branch_name", 5: "notes"}


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """A number, or a length-delimited string, list of strings or message."""
    if isinstance(value, list):
        return b"".join(field(number, one) for one in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def check(name, kind, argv, expect, timeout_seconds):
    return field(1, name) + field(2, kind) + field(3, argv) + field(4, expect) + field(5, timeout_seconds)


def task(id, kind, goal, path, repository, base_commit, checks):
    """A CodingTask with these checks and no others: none are written too, for they waive what would be found."""
    fields = {1: id, 2: kind, 3: goal, 4: path, 7: repository, 8: base_commit, 16: "e2e"}
    return b"".join(field(number, value) for number, value in fields.items() if value) + field(9, field(1, checks))


def bundle(tasks):
    return field(1, tasks)


def result(data):
    """The five fields of a CommitResult; all others are skipped, whatever they are."""
    found = {"task_id": "", "commit_sha": "", "status": "", "branch_name": "", "notes": []}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            _, at = read_varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = read_varint(data, at)
            value, at = data[at : at + length], at + length
            name = RESULT.get(key >> 3)
            if name == "notes":
                found["notes"].append(value.decode())
            elif name:
                found[name] = value.decode()
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
    if at != len(data):
        raise ValueError("the last field is cut off")
    return found


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
