# What the scripts share: the packages the project stands on, building, running and counting tests.
# Sourced by the others from the project's folder; POSIX sh.

# Debian 12 and Ubuntu 22.04 or newer. The data set, oneDNN and Random123 are in Ubuntu's "universe".
packages="build-essential meson ninja-build pkg-config libhwloc-dev libxxhash-dev zlib1g-dev libpng-dev
libjansson-dev libsqlite3-dev libyaml-dev liblapacke-dev libopenblas-dev libdnnl-dev libcmocka-dev
libbenchmark-dev liblemon-dev libsundials-dev librandom123-dev gnuplot-nox fonts-dejavu-core
dataset-fashion-mnist"

passed=0
failed=0
skipped=0

say() {
    printf '== %s\n' "$*"
}

fail() {
    printf 'shortrun: %s\n' "$*" >&2
    exit 1
}

# The names among "$@" that dpkg does not know as installed.
missing_packages() {
    dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
        awk '$2 == "installed" { print $1 }' >"$scratch/installed"
    for package in "$@"; do
        grep -qx "$package" "$scratch/installed" || printf '%s ' "$package"
    done
}

# Installs what is missing of "$@", and nothing else. Only sudo may ask something: its password.
install_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "no apt-get here: going on with what is installed (Debian's names are in scripts/lib.sh)"
        return
    fi
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            fail "missing packages: ${missing% }; neither root nor sudo is there to install them"
        as_root=sudo
    fi
    say "installing ${missing% }"
    $as_root apt-get update -qq >"$scratch/apt.log" 2>&1 || true # an old list may do
    for package in $missing; do
        apt-cache show "$package" >/dev/null 2>&1 ||
            fail "package $package is not in this system's package sources ($(package_hint))"
    done
    # shellcheck disable=SC2086 # a list of names
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 $missing >>"$scratch/apt.log" 2>&1 ||
        fail "apt-get install: $(apt_error)"
}

package_hint() {
    if grep -qi ubuntu /etc/os-release 2>/dev/null; then
        echo "on Ubuntu: sudo add-apt-repository universe"
    else
        echo "is there a network, and Debian's main in /etc/apt/sources.list?"
    fi
}

apt_error() {
    grep -m 1 '^E:' "$scratch/apt.log" || tail -n 1 "$scratch/apt.log"
}

# build_in FOLDER [meson options]: configures once, then builds. Environment: CC, CXX.
build_in() {
    folder=$1
    shift
    if [ ! -f "$folder/build.ninja" ]; then
        meson setup "$folder" "$@" >"$scratch/build.log" 2>&1 || {
            grep -m 1 'ERROR' "$scratch/build.log" >&2
            return 1
        }
    fi
    ninja -C "$folder" >"$scratch/build.log" 2>&1 || {
        grep -v '^\[' "$scratch/build.log" | tail -n 30 >&2
        return 1
    }
}

count_pass() {
    passed=$((passed + 1))
}

count_fail() {
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$*"
}

# run_tests FOLDER [meson test options]: runs them and adds what meson's log says to the counts. Tests run side by side:
# threads that wait would spin in each other's way (a third of the time).
run_tests() {
    folder=$1
    shift
    log="$folder/meson-logs/testlog.json"
    rm -f "$log"
    OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" \
        meson test -C "$folder" --no-rebuild --print-errorlogs "$@" || true # the log says what failed
    if [ ! -s "$log" ]; then
        count_fail "$folder: no test ran"
        return
    fi
    good=$(grep -c '"result": "\(OK\|EXPECTEDFAIL\)"' "$log" || true)
    skip=$(grep -c '"result": "SKIP"' "$log" || true)
    all=$(grep -c '"result":' "$log" || true)
    passed=$((passed + good))
    skipped=$((skipped + skip))
    failed=$((failed + all - good - skip))
}

# Tests that take long stay out ("slow"). Libraries' one-time allocations are no leaks of ours: hwloc's
# OpenCL plugin, OpenBLAS's and OpenMP's threads; tests/cli/lsan.supp names them.
sanitised_tests() {
    sanitised=$1
    shift
    ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 LSAN_OPTIONS=suppressions=$PWD/tests/cli/lsan.supp \
        UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        run_tests "$sanitised" --no-suite slow --timeout-multiplier 4 "$@"
}

# The last lines of a test script; the status says the same.
finish_counts() {
    [ "$skipped" = 0 ] || printf '%s skipped\n' "$skipped"
    printf '%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/shortrun.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
