#!/bin/sh
# kubectl.sh DIR [12] [13]: puts Debian 12's and Debian 13's kubectl into DIR as kubectl-12 and kubectl-13, for tests of an old and a current client;
# both, unless one is named. The packages come from the mirror that this machine's apt uses; nothing is installed.
set -eu
dir=$1
shift
[ $# -gt 0 ] || set -- 12 13
mkdir -p "$dir"
# Tests that run beside each other want the same.
exec 9>"$dir/.kubectl.lock"
flock 9
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -1)
[ -n "$mirror" ] || { echo "kubectl.sh: apt has no package lists: run apt-get update first" >&2; exit 1; }
get() { # NUMBER SUITE PACKAGE
  [ -x "$dir/kubectl-$1" ] && return 0
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/etc/preferences.d" "$work/root"
  echo "deb $mirror $2 main" >"$work/etc/sources.list"
  apt="-o Dir::Etc::sourcelist=$work/etc/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache -o Dir::Etc::preferencesparts=$work/etc/preferences.d -o APT::Sandbox::User=root -o Dir::State::status=$work/status"; : >"$work/status"
  # shellcheck disable=SC2086
  (cd "$work" && apt-get $apt -q update && apt-get $apt -q download "$3") >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  dpkg-deb -x "$work"/"$3"_*.deb "$work/root"
  # Whole or not at all, for whoever looks at the same time.
  mv "$work/root/usr/bin/kubectl" "$dir/.kubectl-$1.$$"
  mv "$dir/.kubectl-$1.$$" "$dir/kubectl-$1"
  rm -rf "$work"
}
for wanted in "$@"; do
  case $wanted in
    12) get 12 bookworm kubernetes-client ;;
    13) get 13 trixie kubectl ;;
    *) echo "kubectl.sh: there is no kubectl $wanted" >&2; exit 2 ;;
  esac
done
