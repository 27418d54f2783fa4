test_relay_filters_by_level() {
    equal "[error] web2: down" "$(printf 'info web1 up\nerror web2 down\n' | sh bin/relay warn)"
}
