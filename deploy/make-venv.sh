#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Create or repair the virtual environment: pinned packages, checked hashes, the `slipway` command.
#
#   deploy/make-venv.sh VENV REQUIREMENTS...
#
# PYTHON names the interpreter; otherwise the newest python3 of 3.11 or later is used.
set -eu

venv=$1
shift
here=$(cd "$(dirname "$0")" && pwd)

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>&1 | head -n 1)
    echo "Slipway needs Python 3.11 or later; found: ${found:-none}." >&2
    echo "Next: run  sudo apt-get install -y python3.11 python3.11-venv  (or a later one)" >&2
    echo "      and start again; PYTHON=/path/to/python names another interpreter." >&2
    exit 1
}

# A virtual environment breaks without its interpreter or when its folder moves.
if ! is_new_enough "$venv/bin/python" || ! "$venv/bin/pip" --version >/dev/null 2>&1; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        PYTHON=$python "$here/install-packages.sh" venv
    fi
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

echo "Installing pinned packages into $venv"
set -- $(printf -- '-r %s ' "$@")
pip="$venv/bin/python -m pip --disable-pip-version-check --no-input --quiet"
$pip install --require-hashes "$@"
$pip install --no-deps --no-build-isolation --editable "$here/.."
