"""The command: python3 -m greet FIRST LAST [--language en]."""

import argparse

from greet.names import full_name
from greet.phrases import welcome


def main():
    """Greets whoever is named on the command line."""
    parser = argparse.ArgumentParser(prog="greet")
    parser.add_argument("first")
    parser.add_argument("last")
    parser.add_argument("--language", default="en")
    options = parser.parse_args()
    print(welcome(full_name(options.first, options.last), options.language))


if __name__ == "__main__":
    main()
