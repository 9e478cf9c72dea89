"""Several clients of one process, by the unmodified librados, whose every operation is told with its times, for the checker (history.ts).

  model_load.py CONF PROCESS PROCESSES SEED POOL[:erasure]...

Each client is a RADOS client of its own. It writes the objects that are its own, one operation after the other, and reads everybody's. Lines on standard
output (times: CLOCK_MONOTONIC, nanoseconds, the same for all processes of the machine):

  W OBJECT VERSION TIME      the operation that makes VERSION begins          A OBJECT VERSION TIME    it was acknowledged
  R OBJECT VERSION BEGIN END a read that found VERSION, every byte of it      D OBJECT TEXT            what was read is no version of the object
  E OBJECT ERROR TEXT        an operation failed                              S NUMBER, Q NUMBER       a command (below) was carried out
  C NAME CLIENT NUMBER       record NUMBER of this client was appended to the object NAME, which all clients append to

Lines on standard input: first `OBJECT VERSION` (tried by a process before this one) up to an empty line; then `sweep N` (each client reads every object once),
`quiet N` (no operation is under way, none begins), `verify N` (quiet: data, xattr and omap of every own object are of one version), `go`, `log NAME` (from now on
append to this object), `check N NAME` (quiet: removes it, prints `L NAME CLIENT:NUMBER,...`, what is in it).

VERSION says what is done: 1 mod 8 writes the whole object, 2 and 7 append, 3 overwrites, 4 writes behind the end, 5 truncates, 6 zeroes, 0 removes. Every version of
an object is a function of its name and number, and begins with a header that names both, changed by the same operation; so do an xattr and, where
there is omap, a key.
"""

import functools
import hashlib
import random
import struct
import sys
import threading
import time

import rados

CLIENTS = 2
OBJECTS = 5
HEADER = 16


def emit(*fields):
    # One write a line: lines of threads do not mix.
    sys.stdout.write(" ".join(map(str, fields)) + "\n")


def noise(name, version, length):
    block = hashlib.sha256(f"{name} {version}".encode()).digest()
    return (block * (length // 32 + 1))[:length]


def header(name, version):
    return struct.pack("<Q", version) + hashlib.sha256(name.encode()).digest()[:8]


def step(name, version, size):
    """What the operation of this version is, on an object of `size` bytes."""
    rng = random.Random(f"{name} {version}")
    kind = version % 8
    length = rng.choice((100, 4096, 5000, 20000, 70000))
    if kind in (2, 7):
        return ("append", size, noise(name, version, length))
    if kind == 3:
        return ("write", rng.randrange(HEADER, max(size, HEADER + 1)), noise(name, version, length))
    if kind == 4:
        return ("write", size + rng.choice((1, 4096, 9000)), noise(name, version, length))
    if kind == 5:
        return ("truncate", rng.randrange(HEADER, max(size, HEADER + 1)), b"")
    if kind == 6:
        at = rng.randrange(HEADER, max(size, HEADER + 1))
        return ("zero", at, bytes(max(0, min(length, size - at))))
    if kind == 0:
        return ("remove", 0, b"")
    return ("full", 0, noise(name, version, length))


@functools.lru_cache(maxsize=4096)
def content(name, version):
    """The object's bytes; None: it is not there."""
    if version == 0 or version % 8 == 0:
        return None
    if version % 8 == 1:
        return header(name, version) + step(name, version, 0)[2]
    before = content(name, version - 1)
    what, at, data = step(name, version, len(before))
    body = bytearray(before)
    # As upstream's OSD does it: zeroes up to the end of an object cut it.
    if what == "truncate" or (what == "zero" and data and at + len(data) >= len(body)):
        del body[at:]
    else:
        if at > len(body):
            body.extend(bytes(at - len(body)))
        body[at:at + len(data)] = data
    body[:HEADER] = header(name, version)
    return bytes(body)


class Client:
    def __init__(self, conf, number, pools, seed):
        self.number = number
        self.cluster = rados.Rados(conffile=conf, name="client.admin")
        self.cluster.connect()
        self.pools = {pool: self.cluster.open_ioctx(pool) for pool in pools}
        self.rng = random.Random(f"{seed} {number}")
        self.own = [f"{pool}/c{number}-{i}" for pool in pools for i in range(OBJECTS)]
        self.appended = 0

    def at(self, name):
        pool, oid = name.split("/")
        return self.pools[pool], oid

    def write(self, name, version, omap):
        ioctx, oid = self.at(name)
        op = ioctx.create_write_op()
        before = content(name, version - 1)
        what, at, data = step(name, version, len(before or b""))
        if what == "remove":
            op.remove()
        else:
            if what == "full":
                op.write_full(header(name, version) + data)
            else:
                if what == "append":
                    op.append(data)
                elif what == "write":
                    op.write(data, at)
                elif what == "truncate":
                    op.truncate(at)
                elif data:
                    # The binding hands its two arguments on in the wrong order.
                    op.zero(len(data), at)
                op.write(header(name, version), 0)
            op.set_xattr("v", str(version).encode())
            if omap:
                ioctx.set_omap(op, ("v",), (str(version).encode(),))
        emit("W", name, version, time.monotonic_ns())
        ioctx.operate_write_op(op, oid)
        emit("A", name, version, time.monotonic_ns())
        ioctx.release_write_op(op)

    def read(self, name):
        ioctx, oid = self.at(name)
        began = time.monotonic_ns()
        try:
            data = ioctx.read(oid, 1 << 20)
        except rados.ObjectNotFound:
            emit("R", name, 0, began, time.monotonic_ns())
            return 0
        ended = time.monotonic_ns()
        version = struct.unpack("<Q", data[:8])[0] if len(data) >= HEADER else -1
        if version <= 0 or version % 8 == 0 or version > 1 << 40 or data != content(name, version):
            emit("D", name, f"{len(data)} bytes, header {data[:HEADER].hex()}", began, ended)
            return -1
        emit("R", name, version, began, ended)
        return version

    def append(self, name):
        ioctx, oid = self.at(name)
        record = f"{self.number}:{self.appended + 1},"
        ioctx.append(oid, record.encode())
        self.appended += 1
        emit("C", name, self.number, self.appended)

    def attributes(self, name, omap):
        """Data, xattr and omap of a version were changed by one operation."""
        ioctx, oid = self.at(name)
        version = self.read(name)
        if version <= 0:
            return
        found = [ioctx.get_xattr(oid, "v").decode()]
        if omap:
            with rados.ReadOpCtx() as op:
                entries, _ = ioctx.get_omap_vals_by_keys(op, ("v",))
                ioctx.operate_read_op(op, oid)
                found.append(dict(entries).get("v", b"").decode())
        if any(value != str(version) for value in found):
            emit("D", name, f"torn: data of version {version}, xattr and omap {found}")


class Process:
    def __init__(self, conf, process, processes, seed, pools):
        self.erasure = {pool.split(":")[0]: pool.endswith(":erasure") for pool in pools}
        names = list(self.erasure)
        self.clients = [Client(conf, process * CLIENTS + i, names, seed) for i in range(CLIENTS)]
        self.everything = [f"{pool}/c{n}-{i}" for pool in names for n in range(processes * CLIENTS) for i in range(OBJECTS)]
        self.versions = {}
        self.log = None
        self.running = 0
        self.quiet = False
        self.turn = threading.Condition()
        self.failed = False

    def omap(self, name):
        return not self.erasure[name.split("/")[0]]

    def guarded(self, name, work):
        """Carries out `work` unless it is quiet."""
        with self.turn:
            while self.quiet:
                self.turn.wait()
            self.running += 1
        try:
            work()
        except Exception as error:  # told, and judged by the reader
            emit("E", name, type(error).__name__, str(error).replace("\n", " "))
            time.sleep(0.2)
        finally:
            with self.turn:
                self.running -= 1
                self.turn.notify_all()

    def writer(self, client, mine):
        rng = random.Random(f"{client.rng.random()}")
        while True:
            name = rng.choice(mine)
            # After a process that was killed nobody knows which operations were carried out: the next writes the whole object.
            version = self.versions.get(name, 0) + 1

            def work():
                self.versions[name] = version
                client.write(name, version, self.omap(name))

            self.guarded(name, work)

    def reader(self, client):
        rng = random.Random(f"{client.rng.random()}")
        while True:
            name = rng.choice(self.everything)
            self.guarded(name, lambda: client.read(name))
            time.sleep(0.005)

    def appender(self, client):
        while True:
            name = self.log
            if name is not None:
                self.guarded(name, lambda: client.append(name))
            time.sleep(0.05)

    def start(self):
        for client in self.clients:
            half = len(client.own) // 2
            threads = [(self.writer, (client, client.own[:half])), (self.writer, (client, client.own[half:])),
                       (self.reader, (client,)), (self.appender, (client,))]
            for target, args in threads:
                threading.Thread(target=target, args=args, daemon=True).start()

    def stop(self):
        with self.turn:
            self.quiet = True
            while self.running > 0:
                self.turn.wait()

    def command(self, line):
        try:
            self.carry_out(*line.split())
        except Exception as error:
            emit("E", line.strip().replace(" ", "-"), type(error).__name__, str(error).replace("\n", " "))

    def carry_out(self, what, *rest):
        if what == "sweep":
            for client in self.clients:
                for name in self.everything:
                    client.read(name)
            emit("S", rest[0])
        elif what == "quiet":
            self.stop()
            emit("Q", rest[0])
        elif what == "verify":
            for client in self.clients:
                for name in client.own:
                    client.attributes(name, self.omap(name))
            emit("S", rest[0])
        elif what == "log":
            self.log = rest[0]
        elif what == "check":
            ioctx, oid = self.clients[0].at(rest[1])
            try:
                emit("L", rest[1], ioctx.read(oid, 8 << 20).decode().strip(",") or "-")
                ioctx.remove_object(oid)
            except rados.ObjectNotFound:
                # Nobody came to append before the clients were killed, or what was acknowledged is lost: the reader knows.
                emit("L", rest[1], "-")
            emit("S", rest[0])
        elif what == "go":
            with self.turn:
                self.quiet = False
                self.turn.notify_all()


def main():
    conf, process, processes, seed, *pools = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    load = Process(conf, int(process), int(processes), seed, pools)
    for line in sys.stdin:
        if line == "\n":
            break
        name, tried = line.split()
        load.versions[name] = (int(tried) + 7) // 8 * 8
    load.start()
    for line in sys.stdin:
        # A command that waits for the cluster must not hold up the next.
        threading.Thread(target=load.command, args=(line,), daemon=True).start()


main()
