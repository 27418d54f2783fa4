# How grave a level is.

# level_rank LEVEL: a number, larger is graver; 0 for a level that is not known.
level_rank() {
    case $1 in
        debug) echo 1 ;;
        info) echo 2 ;;
        warn) echo 3 ;;
        error) echo 4 ;;
        *) echo 0 ;;
    esac
}
