#!/usr/bin/env bash
# Sets up what a make target needs, once, and says what it does.
#   tools/prepare.sh environment     .venv with the locked packages and Poise itself
#   tools/prepare.sh debian NAME...  Debian packages, where this account may install them
set -euo pipefail
cd "$(dirname "$0")/.."
log=.venv/prepare.log

say() { printf '==> %s\n' "$*" >&2; }
stop() { printf '%s\n' "$@" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1
    fi
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    as_root true || return 1
    say "installing $* with apt"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

installed() { # a Debian package, or the command it is wanted for
    case $1 in
        bubblewrap) command -v bwrap ;;
        busybox-static) command -v busybox ;;
        fonts-*) compgen -G '/usr/share/fonts/*' ;;
        *) command -v "$1" ;;
    esac >/dev/null
}

debian() {
    local missing=() name
    for name in "$@"; do installed "$name" || missing+=("$name"); done
    [ ${#missing[@]} = 0 ] && return
    apt_install "${missing[@]}" && return
    say "not installed, and this account may not or could not install it: ${missing[*]}"
    say "what needs it will say so; to mend: sudo apt-get install ${missing[*]}"
    return 3
}

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

choose_python() {
    local python=${PYTHON:-python3}
    if ! command -v "$python" >/dev/null; then
        apt_install python3 python3-venv || stop "Python is not installed." "To mend: sudo apt-get install python3 python3-venv"
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "Poise needs Python 3.11 or newer; $python is $("$python" -V 2>&1)." "To mend: make PYTHON=/path/to/python3.11 ..."
    if ! has_venv "$python"; then
        apt_install python3-venv || true
        has_venv "$python" ||
            stop "$python cannot make virtual environments: its venv or ensurepip module is missing." \
                "To mend: sudo apt-get install python3-venv"
    fi
    printf '%s' "$python"
}

quietly() {
    "$@" >>"$log" 2>&1 && return
    tail -n 20 "$log" >&2
    stop "That did not work: $*" "The whole output is in $log."
}

environment() {
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        local chosen
        chosen=$(choose_python)
        say "making a virtual environment in .venv"
        "$chosen" -m venv --clear .venv
    fi
    : >"$log"
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    say "installing the locked packages (about a minute the first time)"
    quietly .venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
    say "installing poise itself"
    quietly .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
}

"$@"
