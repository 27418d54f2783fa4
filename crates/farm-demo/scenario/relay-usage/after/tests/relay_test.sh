test_relay_filters_by_level() {
    equal "[error] web2: down" "$(printf 'info web1 up\nerror web2 down\n' | sh bin/relay warn)"
}

test_relay_says_how_it_is_used() {
    equal "usage: relay [debug|info|warn|error] < lines" "$(sh bin/relay --help)"
}
