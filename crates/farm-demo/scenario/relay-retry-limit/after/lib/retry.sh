# Doing it again.

# pause SECONDS: waits, unless a test says that time does not matter.
pause() {
    if [ -z "${RELAY_NO_PAUSE:-}" ]; then
        sleep "$1"
    fi
}

# retry TIMES COMMAND...: runs the command until it succeeds, at most TIMES times.
retry() {
    times=$1
    shift
    done_times=0
    while [ "$done_times" -lt "$times" ]; do
        if "$@"; then
            return 0
        fi
        done_times=$((done_times + 1))
        pause 1
    done
    return 1
}
