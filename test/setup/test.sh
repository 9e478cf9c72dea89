#!/bin/sh
# `npm test`: installs what the tests need (Debian packages, npm packages), checks the tree, builds both executables and runs the suites:
# unit (beside the code), conformance (what of Kubernetes' suite an API server alone proves), build (both executables), story (a whole node), join (a second machine), servers (three of them),
# crash (a few rounds of kill -9, power loss and other faults under load; CRASH_ROUNDS and FAULT_ROUNDS, 5). `test.sh long-crash` runs 50 of each and the planted faults, `test.sh faults` 500 fault
# rounds on three machines (FAULT_ROUNDS, CRASH_SEED; test/crash/README.md), `test.sh fuzz`
# the fuzz tests with 50 times as many inputs, `test.sh store-kill` kills members of a store in 200 rounds with one and in 200 with three
# (STORE_KILL_ROUNDS), `test.sh engine` runs the storage part of the story over the distribution's Ceph daemons and over an external cluster (`engine-client` the short part of it: our client over those daemons), `test.sh store-sim` simulates 20,000 seeds of it (SIM_SEEDS, from SIM_FIRST on; every twentieth history is long, SIM_LENGTH=whole or short: all are or none;
# SIM_PROCESSES), `test.sh starts` brings 60 fresh nodes up and down twice (START_ROUNDS). Arguments name suites; the default is check unit conformance build story crash, and CI runs join and servers, too. The last line counts tests.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "npm test: must be started by root: it makes network namespaces, mounts and containers" >&2; exit 1; }
[ $# -gt 0 ] || set -- check unit conformance build story crash

sh cmd/setup/packages.sh containerd runc containernetworking-plugins nftables iproute2 e2fsprogs util-linux procps curl ceph-common ceph-base ceph-fuse rbd-fuse \
  etcd-client etcd-server busybox-static zsh fish qemu-user-static libc6-arm64-cross libgcc-s1-arm64-cross python3-rados python3-rbd
sh cmd/setup/npm.sh
PATH=$PWD/node_modules/.bin:$PATH
results=$PWD/dist/test-results
rm -rf "$results"
mkdir -p "$results"
failed=0

suite() { # NAME ARGUMENTS OF VITEST
  name=$1
  shift
  echo "== $name"
  # The long ones tell of each test as it ends.
  case $name in unit | conformance | fuzz) reporter=default ;; *) reporter=verbose ;; esac
  bun --bun node_modules/vitest/vitest.mjs run --pool=threads --reporter=$reporter --reporter=json --outputFile.json="$results/$name.json" "$@" || failed=1
}

# Suites that leave one of two cores idle run beside each other, each in a process of its own; what the other one said comes after it has ended.
alongside() { # NAME ARGUMENTS OF VITEST
  other_said=$results/$1.out
  (failed=0; suite "$@"; exit "$failed") > "$other_said" 2>&1 &
  other=$!
}
both() {
  wait "$other" || failed=1
  cat "$other_said"
}
beside=
case " $* " in *" unit "*"conformance "*) beside=yes ;; esac

built=
build_own() { # the executable of this machine, once a run
  [ -n "$built" ] || bun cmd/build/main.ts "$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')"
  built=yes
}

for wanted in "$@"; do
  case $wanted in
    check)
      echo "== check"
      tsc -p . && biome check . || failed=1
      ;;
    unit)
      [ -z "$beside" ] || alongside conformance --project conformance
      suite unit --project unit
      [ -z "$beside" ] || both
      ;;
    conformance) [ -n "$beside" ] || suite conformance --project conformance ;;
    build)
      bun cmd/build/main.ts
      built=yes
      suite build --project build
      ;;
    story)
      build_own
      suite story --project story --bail 1
      ;;
    starts)
      build_own
      suite starts --project starts
      ;;
    join)
      build_own
      suite join --project join --bail 1
      ;;
    engine)
      sh cmd/setup/packages.sh ceph-mon ceph-mgr ceph-osd ceph-mds radosgw s3cmd
      build_own
      suite engine --project engine --bail 1
      ;;
    engine-client)
      sh cmd/setup/packages.sh ceph-mon ceph-mgr ceph-osd
      build_own
      suite engine-client --project engine test/e2e/engine/client.test.ts -t 'engine ceph'
      ;;
    servers)
      build_own
      alongside mons --project servers --bail 1 test/e2e/mons.test.ts
      suite servers --project servers --bail 1 test/e2e/servers.test.ts
      both
      ;;
    crash)
      build_own
      CRASH_ROUNDS=${CRASH_ROUNDS:-5} FAULT_ROUNDS=${FAULT_ROUNDS:-5} suite crash --project crash test/crash/crash.test.ts test/crash/faults.test.ts test/crash/store-members.test.ts
      ;;
    long-crash)
      build_own
      bun cmd/build/main.ts faulty
      CRASH_ROUNDS=${CRASH_ROUNDS:-50} FAULT_ROUNDS=${FAULT_ROUNDS:-50} suite crash --project crash
      ;;
    faults)
      build_own
      FAULT_ROUNDS=${FAULT_ROUNDS:-500} suite faults --project crash test/crash/faults.test.ts
      ;;
    store-kill)
      STORE_KILL_ROUNDS=${STORE_KILL_ROUNDS:-200} suite store-kill --project crash test/crash/store-members.test.ts
      ;;
    store-sim)
      bun test/sim/store/main.ts "${SIM_FIRST:-1}" "${SIM_SEEDS:-20000}" || failed=1
      ;;
    fuzz)
      FUZZ_ROUNDS=${FUZZ_ROUNDS:-100000} FUZZ_COUNT=${FUZZ_COUNT:-100000} suite fuzz --project unit --testTimeout=1200000 -t '[Ff]uzz|garbage|damaged|random bytes'
      ;;
    *) echo "test.sh: unknown suite $wanted" >&2; exit 2 ;;
  esac
done
bun test/setup/summary.ts "$results" "$failed"
