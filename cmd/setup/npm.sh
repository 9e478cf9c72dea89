#!/bin/sh
# Installs the npm packages of package-lock.json when they are not there, Bun among them.
set -eu
cd "$(dirname "$0")/../.."
sum=$(sha256sum package-lock.json | cut -c1-16)
[ "$(cat node_modules/.installed 2>/dev/null)" = "$sum" ] && exit 0
echo "installing npm packages…"
# Some versions of npm 11 refuse any lock file whose optional packages for other platforms are left out, as npm itself writes it (EUSAGE); `npm install` takes the
# same versions from it.
npm ci --no-audit --no-fund --loglevel=silent || npm install --no-save --no-audit --no-fund --loglevel=error
printf '%s' "$sum" >node_modules/.installed
