#!/bin/sh
# debian-package.sh COMMAND PACKAGE: make sure that COMMAND is there, from the Debian package where it is missing.
# A COMMAND that ends in .so.N is a shared library.
set -eu
command=$1
package=$2
PATH=$PATH:/usr/sbin:/sbin

case $command in
*.so.*) ldconfig -p | grep -qF "$command " && exit 0 ;;
*) command -v "$command" >/dev/null && exit 0 ;;
esac
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$command is missing and this is not root on Debian; install it first: sudo apt-get install $package" >&2
    exit 1
fi
echo "installing the Debian package $package"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends "$package" >/dev/null 2>&1 || {
    # a fresh machine has no package lists yet
    apt-get -qq update
    apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends "$package" >/dev/null
}
