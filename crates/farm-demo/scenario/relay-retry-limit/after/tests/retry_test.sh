test_retry_succeeds_at_once() {
    retry 3 true
}

test_retry_gives_up() {
    if retry 2 false; then exit 1; fi
}

test_retry_counts() {
    equal "x x" "$(retry 2 sh -c 'printf "x "; exit 1' | sed 's/ $//')"
}
