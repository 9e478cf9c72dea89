#!/bin/sh
# `npm run up`: installs what is missing (Debian packages, npm packages), builds the executable, makes the demonstration image and starts
# the node in the foreground. Arguments go to `appliance up`. Every step is skipped when it is done already.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "npm run up: must be started by root (sudo npm run up)" >&2; exit 1; }

sh cmd/setup/packages.sh containerd runc containernetworking-plugins nftables iproute2 e2fsprogs util-linux ceph-common ceph-fuse rbd-fuse busybox-static
command -v kubectl >/dev/null || sh cmd/setup/packages.sh kubernetes-client
sh cmd/setup/npm.sh

sources=$(git rev-parse HEAD 2>/dev/null || true)$(find cmd internal package-lock.json -type f -printf '%p %T@ %s\n' | sort | sha256sum | cut -c1-16)
case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) echo "npm run up: no build for $(uname -m)" >&2; exit 1 ;; esac
binary=dist/appliance-linux-$arch
if [ ! -x "$binary" ] || [ "$(cat dist/.sources 2>/dev/null)" != "$sources" ]; then
  echo "building the executable…"
  node_modules/.bin/bun cmd/build/main.ts "$arch"
  printf '%s' "$sources" >dist/.sources
fi
sh cmd/setup/busybox-image.sh dist/images/busybox.tar
# Where this node looks for images, by file, environment and these arguments. Of a configuration that is wrong `up` tells.
images=$("$binary" config show -o json "$@" 2>/dev/null | sed -n 's/^  "imagesDir": "\(.*\)",*$/\1/p') || true
if [ -n "$images" ]; then
  (umask 022; mkdir -p "$images")
  cmp -s dist/images/busybox.tar "$images/busybox.tar" || cp dist/images/busybox.tar "$images/busybox.tar"
fi
exec "$binary" up "$@"
