#!/bin/sh
# verify.sh ROOT: check the unit of an installation staged under ROOT. Its units are completed with this machine's own.
set -eu
root=$1
here=$(dirname "$(realpath "$0")")
unit=usr/local/lib/systemd/system/shelfd.service
exposure_tenths_max=15 # reached with systemd 252; the unit's last comment says what the rest is

"$here/debian-package.sh" systemd-analyze systemd
mkdir -p "$root/usr/lib/systemd"
cp -a /usr/lib/systemd/system "$root/usr/lib/systemd/"

# systemd-analyze exits 0 for a key that it does not know, so its silence is the test.
complaints=$(systemd-analyze verify --root="$root" shelfd.service 2>&1) || true
if [ -n "$complaints" ]; then
    echo "$complaints" >&2
    exit 1
fi

# The test itself must be able to fail.
cp "$root/$unit" "$root/unit.saved"
sed -i 's/^WatchdogSec=/WatchdogSecs=/' "$root/$unit"
complaints=$(systemd-analyze verify --root="$root" shelfd.service 2>&1) || true
mv "$root/unit.saved" "$root/$unit"
if [ -z "$complaints" ]; then
    echo "verify: a planted unknown key was not noticed" >&2
    exit 1
fi

systemd-analyze security --offline=true --root="$root" --threshold="$exposure_tenths_max" shelfd.service | tail -n 1
"$root/opt/shelfd/venv/bin/shelfd" check-config "$root/etc/shelfd/config.toml"
echo "unit verified: shelfd.service"
