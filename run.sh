#!/usr/bin/env bash
# Builds tollgate when needed and runs it.
#
#   ./run.sh                    a demo: backends to play with and a proxy over them
#   ./run.sh --config FILE      run the proxy with this configuration (also --to, --listen, --env-file)
#   ./run.sh COMMAND ...        any command of tollgate: run, explain, demo, ...
#   ./run.sh check              what CI runs: format, lints, docs, dependencies, tests
#   ./run.sh check --config F   check a configuration instead
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! command -v cargo >/dev/null; then
    echo "run.sh: cargo is not on the PATH; install a Rust toolchain (1.95 or newer) first" >&2
    exit 1
fi

say() { printf '\n== %s\n' "$*"; }

check() {
    export CLIPPY_CONF_DIR="$PWD/tests/tools"
    export RUSTDOCFLAGS="-D warnings"
    say "format";       cargo fmt --check
    say "lints";        cargo clippy --locked --all-targets -- -D warnings
    say "docs";         cargo doc --locked --no-deps --document-private-items --quiet
    say "dependencies"; check_dependencies
    say "tests";        cargo test --locked
}

# ureq decodes bodies and keeps cookies as soon as any crate in the tree asks for that: a proxy must not.
check_dependencies() {
    if cargo tree --locked --edges features --invert ureq | grep -E 'ureq feature "(gzip|brotli|cookies|charset|json)"'; then
        echo "run.sh: a dependency switches on a feature of ureq that changes what is forwarded" >&2
        return 1
    fi
    if command -v cargo-deny >/dev/null; then
        cargo deny --locked check --config tests/tools/deny.toml
    else
        echo "cargo-deny is not installed: advisories and licences are not checked"
    fi
}

if [ "${1-}" = check ] && [ $# -eq 1 ]; then
    check
    exit
fi

cargo build --release --locked --quiet
tollgate="${CARGO_TARGET_DIR:-target}/release/tollgate"
case "${1-}" in
    "") exec "$tollgate" demo ;;
    *)  exec "$tollgate" "$@" ;;
esac
