#!/bin/bash
# Installs, upgrades or removes the service. Called by `make install` and `make uninstall`.
#
#   install.sh install | uninstall      with DESTDIR set: stage the files there, touch nothing else
#
# /opt/shelfd/releases/<version>-<time>/   one environment per installation, the last two are kept
# /opt/shelfd/venv                         link to the release in use; changing it is the upgrade
# /etc/shelfd/config.toml                  the shop's; kept, a newer sample goes beside it as config.toml.new
# /var/lib/shelfd                          the data; copied to backup/ before a new release may migrate it
set -euo pipefail
umask 022

source_dir=$(dirname "$(dirname "$(realpath "$0")")")
root=${DESTDIR:-}
root=${root%/}
live=yes
[ -z "$root" ] || live=
[ -n "$live" ] || mkdir -p "$root"
[ -n "$live" ] || root=$(realpath "$root")

units=$root/usr/local/lib/systemd/system
sysusers=$root/usr/local/lib/sysusers.d
tmpfiles=$root/usr/local/lib/tmpfiles.d
opt=$root/opt/shelfd
config=$root/etc/shelfd/config.toml
state=/var/lib/shelfd

scratch=
unfinished= # a release that nothing uses yet
clean_up() {
    rm -rf ${scratch:+"$scratch"} ${unfinished:+"$unfinished"}
}
trap clean_up EXIT

fail() {
    echo "install: $*" >&2
    exit 1
}

# The service cannot read /home or /root, so a Python from there would not start.
system_python() {
    local name path
    for name in /usr/bin/python3 /usr/bin/python3.{14,13,12,11} /usr/local/bin/python3; do
        path=$(realpath -e "$name" 2>/dev/null) || continue
        case $path in /home/* | /root/* | /tmp/*) continue ;; esac
        if "$path" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.11 or newer below /usr; on Debian: apt-get install python3 python3-venv"
}

build_release() { # RELEASE_DIR: an environment with the locked packages and this project's wheel
    local release=$1 python wheels=$scratch/wheels
    python=$(system_python)
    "$UV" build --quiet --wheel --python "$python" --require-hashes --build-constraints "$source_dir/requirements/build.txt" \
        --out-dir "$wheels" "$source_dir"
    "$UV" venv --quiet --relocatable --no-project --python "$python" "$release"
    "$UV" pip sync --quiet --require-hashes --link-mode copy --python "$release/bin/python" "$source_dir/requirements/runtime.txt"
    place systemd/backup.py "$release/backup.py" # the service's user may not read the folder that this is installed from
    "$UV" pip install --quiet --no-deps --link-mode copy --python "$release/bin/python" "$wheels"/*.whl
    # The service may not write below /opt, so its byte code is made now; paths inside it are those of the target.
    "$release/bin/python" -m compileall -q -j 0 ${root:+-s "$root" -p /} "$release"/lib/python3.*/site-packages || true
}

place() { # SOURCE TARGET
    install -D -m 0644 "$source_dir/$1" "$2"
}

place_config() {
    if [ ! -e "$config" ]; then
        place config.toml "$config"
    elif cmp -s "$source_dir/config.toml" "$config"; then
        rm -f "$config.new"
    else
        place config.toml "$config.new"
        echo "kept $config; the new sample is $config.new"
    fi
}

use_release() { # RELEASE_NAME: one rename, so that there is no instant without the command
    ln -sfn "releases/$1" "$opt/venv.next"
    mv -T "$opt/venv.next" "$opt/venv"
    unfinished=
}

install_service() {
    [ -n "${UV:-}" ] || fail "UV is not set; use: make install"
    [ -z "$live" ] || [ "$(id -u)" -eq 0 ] || fail "this needs root: sudo make install"

    local version name previous=
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$source_dir/edge/__init__.py")
    name=$version-$(date -u +%Y%m%d%H%M%S)
    [ ! -L "$opt/venv" ] || previous=$(basename "$(readlink "$opt/venv")")

    # Everything that can fail comes before the first change to what runs.
    echo "building shelfd $version"
    scratch=$(mktemp -d)
    unfinished=$opt/releases/$name
    mkdir -p "$opt/releases"
    build_release "$opt/releases/$name"
    if [ -e "$config" ]; then
        "$opt/releases/$name/bin/shelfd" check-config "$config" >/dev/null ||
            fail "the configuration does not fit this version; nothing was changed"
    fi

    place systemd/shelfd.sysusers "$sysusers/shelfd.conf"
    place systemd/shelfd.tmpfiles "$tmpfiles/shelfd.conf"
    place systemd/shelfd.service "$units/shelfd.service"
    place README.md "$opt/doc/README.md"
    place LICENSE "$opt/doc/LICENSE"
    place CHANGELOG.md "$opt/doc/CHANGELOG.md"
    place_config

    if [ -z "$live" ]; then
        use_release "$name"
    else
        activate "$name" "$previous" "$version"
    fi
    mkdir -p "$root/usr/local/bin"
    ln -sfn /opt/shelfd/venv/bin/shelfd "$root/usr/local/bin/shelfd"

    find "$opt/releases" -mindepth 1 -maxdepth 1 -type d ! -name "$name" ${previous:+! -name "$previous"} -exec rm -rf {} +
    echo "installed shelfd $version in $root/opt/shelfd"
}

activate() { # NAME PREVIOUS VERSION: user, stop, copy the data, switch, start
    local name=$1 previous=$2 version=$3
    systemd-sysusers shelfd.conf
    systemd-tmpfiles --create shelfd.conf
    # No PID 1 of systemd (a container being built): the files are in place, nothing to start.
    if [ ! -d /run/systemd/system ]; then
        use_release "$name"
        echo "systemd does not run here: the service was not started"
        return
    fi
    systemctl daemon-reload
    systemctl stop shelfd.service
    if [ -d "$state" ]; then
        runuser -u shelfd -- "$opt/releases/$name/bin/python" "$opt/releases/$name/backup.py" "$state" "$state/backup" "${previous:-none}" || {
            systemctl start shelfd.service || true
            fail "the data could not be copied; the earlier release runs again"
        }
    fi
    use_release "$name"
    systemctl enable --quiet shelfd.service
    systemctl start shelfd.service || {
        echo "the service did not start; see: journalctl -u shelfd" >&2
        [ -z "$previous" ] || echo "back to the earlier release: see docs/how-to/install.md, Going back" >&2
        exit 1
    }
}

uninstall_service() {
    [ -z "$live" ] || [ "$(id -u)" -eq 0 ] || fail "this needs root: sudo make uninstall"
    if [ -n "$live" ] && [ -d /run/systemd/system ] && [ -e "$units/shelfd.service" ]; then
        systemctl disable --now --quiet shelfd.service
    fi
    rm -f "$units/shelfd.service" "$sysusers/shelfd.conf" "$tmpfiles/shelfd.conf" "$root/usr/local/bin/shelfd"
    rm -rf "$opt"
    if [ -n "$live" ] && [ -d /run/systemd/system ]; then
        systemctl daemon-reload
    fi
    echo "removed shelfd; its data in $root$state, its configuration in $root/etc/shelfd and the user stay"
}

case ${1:-} in
install) install_service ;;
uninstall) uninstall_service ;;
*) fail "usage: install.sh install | uninstall" ;;
esac
