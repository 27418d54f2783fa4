#!/bin/sh
# Parses every script without running it.
set -eu

cd "$(dirname "$0")/.."
status=0
for script in bin/relay lib/*.sh tests/*.sh; do
    sh -n "$script" || status=1
done
exit "$status"
