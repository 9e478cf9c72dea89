"""Load and proof for crash rounds, by the unmodified librados.

  rados_load.py CONF POOL write SEED    writes objects until it is killed; prints `try NAME VERSION` before and `ack NAME VERSION` after each write
  rados_load.py CONF POOL verify        reads `NAME ACKED TRIED` lines on standard input and checks each object: its version is
                                        at least ACKED and at most TRIED, and every byte of it belongs to that version

An object of version V of name N is a header line `N V LENGTH` and bytes derived from N and V; its xattr `v` and its omap key `v` are V too, set in
the same operation: all of it or nothing.
"""

import hashlib
import random
import sys

import rados

COUNT = 64
IN_FLIGHT = 8


def content(name, version):
    length = random.Random(f"{name} {version}").choice((100, 4096, 5000, 70000, 300000))
    block = hashlib.sha256(f"{name} {version}".encode()).digest()
    body = (block * (length // 32 + 1))[:length]
    return f"{name} {version} {length}\n".encode() + body


def write(ioctx, seed):
    rng = random.Random(seed)
    versions = {}
    for line in sys.stdin:
        name, version = line.split()
        versions[name] = int(version)
    running = []

    def start():
        name = f"object-{rng.randrange(COUNT)}"
        if any(name == other for other, _, _ in running):
            return
        version = versions.get(name, 0) + 1
        versions[name] = version
        print(f"try {name} {version}", flush=True)
        op = ioctx.create_write_op()
        op.write_full(content(name, version))
        op.set_xattr("v", str(version).encode())
        ioctx.set_omap(op, ("v",), (str(version).encode(),))
        running.append((name, version, ioctx.operate_aio_write_op(op, name)))

    while True:
        while len(running) < IN_FLIGHT:
            start()
        name, version, completion = running.pop(0)
        completion.wait_for_complete()
        if completion.get_return_value() != 0:
            sys.exit(f"{name}: error {completion.get_return_value()}")
        print(f"ack {name} {version}", flush=True)


def verify(ioctx):
    bad = 0
    count = 0
    for line in sys.stdin:
        name, acked, tried = line.split()
        count += 1
        try:
            data = ioctx.read(name, 1 << 20)
            xattr = ioctx.get_xattr(name, "v").decode()
            with rados.ReadOpCtx() as op:
                entries, _ = ioctx.get_omap_vals_by_keys(op, ("v",))
                ioctx.operate_read_op(op, name)
                omap = dict(entries).get("v", b"").decode()
        except rados.ObjectNotFound:
            if int(acked) > 0:
                bad += 1
                print(f"LOST {name}: version {acked} was acknowledged, the object is not there")
            continue
        version = data.split(b"\n", 1)[0].split()[1].decode() if b"\n" in data else "?"
        if not version.isdigit() or not int(acked) <= int(version) <= int(tried):
            bad += 1
            print(f"WRONG {name}: holds version {version}, acknowledged {acked}, tried {tried}")
        elif data != content(name, int(version)):
            bad += 1
            print(f"DAMAGED {name}: version {version} has other bytes than were written")
        elif xattr != version or omap != version:
            bad += 1
            print(f"TORN {name}: data {version}, xattr {xattr}, omap {omap}")
    print(f"checked {count}, bad {bad}")
    sys.exit(1 if bad else 0)


def main():
    conf, pool, action = sys.argv[1:4]
    with rados.Rados(conffile=conf, name="client.admin") as cluster, cluster.open_ioctx(pool) as ioctx:
        if action == "write":
            write(ioctx, sys.argv[4])
        else:
            verify(ioctx)


main()
