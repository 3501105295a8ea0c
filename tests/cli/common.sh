# Shared by the tests of the program. Sourced with: program, helper as $1 and $2.
program=$(realpath "$1") # the tests work in a folder of their own
files=$(realpath "$2")
work=$(mktemp -d "${TMPDIR:-/tmp}/shortrun-cli.XXXXXX") || exit 1
mounted=
clean() {
    [ -z "$mounted" ] || umount "$mounted" 2>/dev/null
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM
checks=0
bad=0

wrong() {
    bad=$((bad + 1))
    printf 'WRONG: %s\n' "$*"
    [ ! -s "$work/err" ] || sed 's/^/    stderr: /' "$work/err" | head -n 20
}

# refuses PATTERN COMMAND...: non-zero, no crash, one line on stderr that says who speaks and has PATTERN.
refuses() {
    pattern=$1
    shift
    status=0
    "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    checks=$((checks + 1))
    lines=$(grep -c '' "$work/err" || true)
    if [ "$status" = 0 ] || [ "$status" -ge 128 ]; then
        wrong "status $status: $*"
    elif [ "$lines" != 1 ]; then
        wrong "$lines lines on stderr, expected 1: $*"
    elif ! grep -q "^shortrun\( [a-z]*\)\{0,1\}: \|^warning: " "$work/err"; then
        wrong "the line does not begin with shortrun: $*"
    elif ! grep -qi -- "$pattern" "$work/err"; then
        wrong "the line lacks '$pattern': $*"
    fi
}

# works COMMAND...: status 0.
works() {
    status=0
    "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    checks=$((checks + 1))
    [ "$status" = 0 ] || wrong "status $status: $*"
}

same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || wrong "$1 and $2 differ${3:+: $3}"
}

finish() {
    printf '%s checks, %s wrong\n' "$checks" "$bad"
    [ "$bad" = 0 ]
}
