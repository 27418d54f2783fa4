test_trim() {
    equal "a  b" "$(trim "  a  b ")"
}

test_describe() {
    equal "[warn] web1: disk is full" "$(describe warn web1 " disk is full")"
}

test_describe_without_message() {
    equal "[warn] web1: (no message)" "$(describe warn web1 "")"
}
