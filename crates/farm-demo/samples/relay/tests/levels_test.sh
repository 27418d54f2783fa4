test_levels_rise() {
    equal "1 2 3 4" "$(echo $(for level in debug info warn error; do level_rank "$level"; done))"
}

test_unknown_level() {
    equal 0 "$(level_rank loud)"
}
