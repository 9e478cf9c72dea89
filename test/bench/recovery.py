"""recovery.py CONF PID OSD: kills OSD (process PID) for good under a pool of size 2 with 1 GiB in it, and tells how long writes stand still and how long it takes until
every object has two copies again, with the latency of 4 KiB writes meanwhile. Prints one JSON object. Everything by librados and mon commands."""
import json, os, signal, sys, threading, time
import rados

conf, pid, osd = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pool, objects, size = "recovery", 256, 4 << 20
cluster = rados.Rados(conffile=conf)
cluster.connect()


def mon(prefix, **arguments):
    code, out, status = cluster.mon_command(json.dumps(dict(prefix=prefix, format="json", **arguments)), b"")
    if code != 0:
        raise SystemExit(f"{prefix}: {code} {status}")
    return json.loads(out) if out.strip() else None


def wait(what, seconds, check):
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds} s: {json.dumps(mon('status')['pgmap'])}")
        time.sleep(0.2)


def clean():
    pgmap = mon("status")["pgmap"]
    states = {state["state_name"]: state["count"] for state in pgmap["pgs_by_state"]}
    return states.get("active+clean", 0) == pgmap["num_pgs"]


# With two OSDs left no pool of size 3 would ever be clean.
for other in mon("osd pool ls"):
    mon("osd pool set", pool=other, var="size", val="2")
mon("osd pool create", pool=pool, pg_num=32)
mon("osd pool set", pool=pool, var="size", val="2")
mon("osd pool application enable", pool=pool, app="bench")
wait("clean", 60, clean)
io = cluster.open_ioctx(pool)
began = time.monotonic()
pending = []
for i in range(objects):
    pending.append(io.aio_write_full(f"object.{i}", os.urandom(4096) * (size // 4096)))
    if len(pending) == 8:
        pending.pop(0).wait_for_complete()
for one in pending:
    one.wait_for_complete()
filled = time.monotonic() - began

latencies, stop = [], threading.Event()


def write():
    i = 0
    while not stop.is_set():
        at = time.monotonic()
        io.write_full(f"small.{i % 64}", b"x" * 4096)
        latencies.append((at, time.monotonic() - at))
        i += 1


writer = threading.Thread(target=write)
writer.start()
time.sleep(3)
# Whoever starts the process again does not bring it back.
mon("osd set", key="noup")
killed = time.monotonic()
os.kill(pid, signal.SIGKILL)
wait("marked down", 60, lambda: mon("status")["osdmap"]["num_up_osds"] == 2)
down = time.monotonic() - killed
time.sleep(5)
out = time.monotonic()
mon("osd out", ids=[osd])
time.sleep(2)
wait("recovered", 600, clean)
recovered = time.monotonic() - out
stop.set()
writer.join()


def quantiles(since, until):
    took = sorted(seconds for at, seconds in latencies if since <= at < until)
    return {"p50": took[len(took) // 2], "p99": took[int(len(took) * 0.99)], "max": took[-1], "writes": len(took)}


print(json.dumps({
    "fillSeconds": filled,
    "downSeconds": down,
    "stallSeconds": max(seconds for at, seconds in latencies if at + seconds > killed and at < out),
    "recoverySeconds": recovered,
    "before": quantiles(0, killed),
    "during": quantiles(out, out + recovered),
}))
