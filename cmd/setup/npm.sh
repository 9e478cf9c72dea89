#!/bin/sh
# Installs the npm packages of package-lock.json when they are not there, Bun among them.
set -eu
cd "$(dirname "$0")/../.."
sum=$(sha256sum package-lock.json | cut -c1-16)
[ "$(cat node_modules/.installed 2>/dev/null)" = "$sum" ] && exit 0
echo "installing npm packages…"
npm ci --no-audit --no-fund --loglevel=error
printf '%s' "$sum" >node_modules/.installed
