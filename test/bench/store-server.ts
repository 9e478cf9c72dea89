/** `bun test/bench/store-server.ts DIRECTORY PORT`: the control-plane store served as etcd in plain text, a process of its own for measuring. */
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { serveEtcd } from '../../internal/store/etcd/face-server.ts';
import { openStore } from '../../internal/store/store.ts';

const [dir, port] = process.argv.slice(2) as [string, string];
const common = { clock: systemClock, random: systemRandom, log: silentLogger };
const store = await openStore({ ...common, dir, disk: systemDisk });
await serveEtcd({ ...common, store, addresses: ['127.0.0.1'], port: Number(port) });
