/**
 * `bun test/bench/store-server.ts DIRECTORY PORT [LEASES]`: the control-plane store served as etcd in plain text, a process of its own for measuring.
 * It gives memory back as a role's process does. With LEASES it renews as many Leases of nodes every 10 s, as the API server beside it does.
 */
import { utf8 } from '../../internal/base/bytes.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { giveBackWhenQuiet } from '../../internal/node/quiet-system.ts';
import { serveEtcd } from '../../internal/store/etcd/face-server.ts';
import { openStore } from '../../internal/store/store.ts';
import { leaseBytes, leaseKey, leasesEveryMs } from './store-leases.ts';

const [dir, port, leases] = process.argv.slice(2) as [string, string, string | undefined];
const common = { clock: systemClock, random: systemRandom, log: silentLogger };
const store = await openStore({ ...common, dir, disk: systemDisk });
await serveEtcd({ ...common, store, addresses: ['127.0.0.1'], port: Number(port) });
giveBackWhenQuiet();
if (leases !== undefined)
  setInterval(() => {
    for (let i = 0; i < Number(leases); i++)
      void store.put({ key: utf8(leaseKey(i)), value: new Uint8Array(leaseBytes).fill(0x61) }, 'deferred');
  }, leasesEveryMs);
