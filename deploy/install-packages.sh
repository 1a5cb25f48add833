#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install the system packages that a purpose needs, when they are missing and may be installed.
#
#   deploy/install-packages.sh run     gpg and gpgv: what Slipway runs with
#   deploy/install-packages.sh venv    the venv module of the interpreter that PYTHON names
#   deploy/install-packages.sh test    run, Chromium, PostgreSQL, nginx, file systems, QEMU with firmware, GRUB: what the tests drive
#   deploy/install-packages.sh bench   run, nginx, curl, openssl, wrk: what the benchmarks compare with
#
# Nothing is done when all is there. It installs as root or through `sudo -n`, by apt-get only;
# otherwise, or with INSTALL=no, it prints the exact command and exits 1.
set -eu

purpose=${1:-run}
missing=""

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

has_postgres() {
    command -v initdb >/dev/null 2>&1 && return 0
    for found in /usr/lib/postgresql/*/bin/initdb; do
        [ -x "$found" ] && return 0
    done
    return 1
}

PATH=$PATH:/usr/sbin:/sbin
case $purpose in
run | test | bench)
    need gpg gnupg
    need gpgv gpgv
    ;;
esac
case $purpose in
run) ;;
venv)
    version=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    missing=" python$version-venv"
    ;;
test)
    [ -x "${CHROMIUM:-}" ] || need chromium chromium
    has_postgres || missing="$missing postgresql"
    need nginx nginx-light
    need mkntfs ntfs-3g
    need mkfs.ext4 e2fsprogs
    need mkfs.xfs xfsprogs
    need qemu-img qemu-utils
    need qemu-system-x86_64 "qemu-system-x86 seabios"
    [ -e /usr/lib/ipxe/qemu/efi-virtio.rom ] || missing="$missing ipxe-qemu"
    [ -e /usr/lib/ipxe/snponly.efi ] || missing="$missing ipxe"
    need grub-mkimage grub-common
    [ -e /usr/lib/grub/x86_64-efi/http.mod ] || missing="$missing grub-efi-amd64-bin"
    [ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || missing="$missing ovmf"
    ;;
bench)
    need nginx nginx-light
    need curl curl
    need openssl openssl
    need wrk wrk
    ;;
*)
    echo "install-packages.sh: unknown purpose '$purpose': run, venv, test or bench" >&2
    exit 2
    ;;
esac
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
sudo=""
if [ "${INSTALL:-yes}" = yes ] && command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" -eq 0 ]; then
        allowed=yes
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        allowed=yes sudo="sudo -n"
    fi
fi
if [ -z "${allowed:-}" ]; then
    echo "Missing for '$purpose':$missing" >&2
    echo "Next: run  sudo sh -c 'apt-get update && $install'  and start again." >&2
    exit 1
fi

echo "Installing for '$purpose':$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
    $sudo env DEBIAN_FRONTEND=noninteractive $install -qq; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "install-packages.sh: '$install' failed; its last lines are above." >&2
    exit 1
fi
