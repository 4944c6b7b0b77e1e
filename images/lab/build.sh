#!/bin/sh
# Turns this folder into a root file system: build.sh SITE DIGEST OUT.tar [MIRROR]
#
#   SITE    a folder with the Python packages of requirements.txt, already unpacked (pip install --target)
#   DIGEST  the recipe's digest, which the image then carries in /usr/share/labrun/packages.json
#   OUT     the tar file to write
#   MIRROR  what mmdebstrap takes as one (an address, a sources file); its own default when left out
#
# Needs mmdebstrap and nothing else: it runs the same on a Debian or Ubuntu host, as root or not, and inside a
# container of a pulled Debian. It writes OUT and, below $TMPDIR, what mmdebstrap itself removes again.
set -eu
# chroot and mmdebstrap's helpers live there, and an ordinary user's path lacks it
PATH=$PATH:/usr/sbin:/sbin

recipe=$(cd "$(dirname "$0")" && pwd)

lines() { sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$1"; }

# Called back by mmdebstrap when all packages are configured (in its user namespace, when there is one).
finish() {
    root=$1 site=$2 digest=$3
    dist=$root/usr/lib/python3/dist-packages
    cp -R "$site/." "$dist/"
    # what wheels have for the command line
    rm -rf "${dist:?}/bin" "${dist:?}/share"
    chmod -R u=rwX,go=rX "$dist"
    chown -R 0:0 "$dist"
    # By hash and unchecked: the .pyc stay valid whatever a tar or an image layer does to times. Compiling takes
    # seconds once; without it `import pyroute2` takes 0.4 s more in every lab. Not what scapy.all leaves alone.
    chroot "$root" python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/scapy/(contrib|modules|layers/(msrpce|tls))/' /usr/lib/python3/dist-packages

    mkdir -p "$root/usr/share/labrun"
    # shellcheck disable=SC2016  # dpkg-query's own variables
    chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >"$root/usr/share/labrun/debian"
    chroot "$root" python3 - "$digest" >"$root/packages.json" <<'PY'
import importlib.metadata, json, sys
with open("/usr/share/labrun/debian") as lines:
    debian = dict(line.split() for line in lines)
python = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
json.dump({"recipe": sys.argv[1], "debian": debian, "python": python}, sys.stdout, indent=1, sort_keys=True)
print()
PY
    rm "$root/usr/share/labrun/debian"
    mv "$root/packages.json" "$root/usr/share/labrun/packages.json"

    # Docker brings its own; engines without a daemon have these.
    printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
    rm -f "$root/etc/resolv.conf"
    : >"$root/etc/resolv.conf"
    echo lab >"$root/etc/hostname"

    lines "$recipe/trim.txt" | while read -r glob; do
        # shellcheck disable=SC2086  # a glob is what it is
        rm -rf "$root"$glob
    done
}

if [ "${1-}" = --finish ]; then
    shift
    finish "$@"
    exit 0
fi

[ $# -ge 3 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
site=$1 digest=$2 out=$3
shift 3

# As root, mmdebstrap mounts /proc and more into its tree: in namespaces of its own, so that nothing of a killed build
# stays mounted or goes on: unshare is killed with whoever called this, and all in the namespaces with it. (Without root,
# mmdebstrap makes such namespaces itself.)
alone='setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc'
[ "$(id -u)" = 0 ] && $alone true 2>/dev/null || alone=

# The hook merges /usr without the package `usrmerge`, which would bring 50 MB of perl. dpkg's own syncing is for machines that may lose power; this tree is thrown away if anything fails.
# shellcheck disable=SC2086  # words, or nothing
exec $alone mmdebstrap --variant=essential --format=tar \
    --include="$(lines "$recipe/packages.txt" | paste -sd, -)" \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='Acquire::Retries "3"' \
    --dpkgopt=force-unsafe-io \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --customize-hook="sh '$recipe/build.sh' --finish \"\$1\" '$site' '$digest'" \
    "$(cat "$recipe/suite")" "$out" "$@"
