"""commands.py CONF: carries out commands of an admin for a test, over one connection. Each line of input is `mon JSON` or `mgr JSON`; each is answered by one line: `CODE` and
JSON of the output, or of the text that tells what went wrong."""

import json
import sys

import rados

with rados.Rados(conffile=sys.argv[1], name="client.admin") as cluster:
    for line in sys.stdin:
        where, command = line.split(" ", 1)
        try:
            call = cluster.mon_command if where == "mon" else cluster.mgr_command
            code, out, text = call(command, b"", timeout=30)
        except rados.Error as error:
            code, out, text = -(getattr(error, "errno", 0) or 5), b"", str(error)
        try:
            value = json.loads(out) if code == 0 and out.strip() else text
        except ValueError:
            value = out.decode()
        print(code, json.dumps(value), flush=True)
