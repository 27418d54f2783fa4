"""Renames an identifier in every Python file below greet/ and tests/: rename.py OLD NEW."""

import pathlib
import re
import sys


def main():
    """Rewrites the files that have the old name."""
    old, new = sys.argv[1:]
    word = re.compile(rf"\b{re.escape(old)}\b")
    for folder in ("greet", "tests"):
        for path in sorted(pathlib.Path(folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            changed = word.sub(new, text)
            if changed != text:
                path.write_text(changed, encoding="utf-8")
                print(path)


if __name__ == "__main__":
    main()
