#!/bin/sh
# Runs every function named test_* of tests/*_test.sh, each in a shell of its own, and prints one line for each.
set -u

cd "$(dirname "$0")/.."
RELAY_NO_PAUSE=1
export RELAY_NO_PAUSE
failed=0

# equal EXPECTED FOUND: ends the test if they differ.
equal() {
    if [ "$1" != "$2" ]; then
        echo "  expected: $1"
        echo "  found:    $2"
        exit 1
    fi
}

for file in lib/*.sh tests/*_test.sh; do
    . "./$file"
done
for name in $(sed -n 's/^\(test_[a-z_]*\)() {$/\1/p' tests/*_test.sh); do
    if ("$name"); then
        echo "ok $name"
    else
        echo "not ok $name"
        failed=1
    fi
done
exit "$failed"
