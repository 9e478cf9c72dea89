"""Reads or writes one object again and again, by the unmodified librados, and says when.

  lease_client.py CONF POOL OBJECT read           a line `SENT ANSWERED CONTENT` for each answer, until it is killed
  lease_client.py CONF POOL OBJECT write TEXT     writes data and omap key `v` in one operation: a line `SENT ACKNOWLEDGED`
  lease_client.py CONF POOL OBJECT any COUNT      reads the omap key COUNT times from whichever copy (BALANCE_READS): a line for each

Times are of CLOCK_MONOTONIC, which all processes of a machine share, in seconds.
"""

import sys
import time

import rados

conf, pool, name, what = sys.argv[1:5]
cluster = rados.Rados(conffile=conf, name="client.admin")
cluster.connect()
ioctx = cluster.open_ioctx(pool)

if what == "write":
    text = sys.argv[5]
    sent = time.monotonic()
    with rados.WriteOpCtx() as op:
        op.write_full(text.encode())
        ioctx.set_omap(op, ("v",), (text.encode(),))
        ioctx.operate_write_op(op, name)
    print(sent, time.monotonic(), flush=True)
elif what == "any":
    for _ in range(int(sys.argv[5])):
        with rados.ReadOpCtx() as op:
            values, _ = ioctx.get_omap_vals_by_keys(op, ("v",))
            ioctx.operate_read_op(op, name, rados.LIBRADOS_OPERATION_BALANCE_READS)
            print(dict(values)["v"].decode(), flush=True)
else:
    while True:
        sent = time.monotonic()
        content = ioctx.read(name).decode()
        print(sent, time.monotonic(), content, flush=True)
        time.sleep(0.02)
