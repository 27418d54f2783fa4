# The parts of a log line.

# trim TEXT: without white space at its ends.
trim() {
    text=$1
    while [ "${text# }" != "$text" ]; do text=${text# }; done
    while [ "${text% }" != "$text" ]; do text=${text% }; done
    printf '%s' "$text"
}

# describe LEVEL HOST MESSAGE: one line for people.
describe() {
    level=$1
    host=$2
    message=$3
    shown=$(trim "$message")
    label="[${level:-none}]"
    origin="$host"
    if [ -z "$shown" ]; then
        shown="(no message)"
    fi
    printf '%s %s: %s\n' "$label" "$origin" "$shown"
}
