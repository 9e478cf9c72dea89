import * as fs from 'node:fs';
import * as os from 'node:os';
import { systemDisk } from '../base/disk-system.ts';
import { silentLogger } from '../base/log.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { storeContract } from './contract.testing.ts';
import { openExternalEtcd } from './external/external-client.ts';
import { serveEtcd } from './etcd/face-server.ts';
import { openStore } from './store.ts';

const common = { clock: systemClock, random: systemRandom, log: silentLogger };

async function ours() {
  const dir = fs.mkdtempSync(`${os.tmpdir()}/contract-`);
  const store = await openStore({ ...common, dir: `${dir}/store`, disk: systemDisk, writer: 'inline' });
  return {
    store,
    close: async () => {
      await store.close();
      fs.rmSync(dir, { recursive: true });
    },
  };
}

storeContract('ours', ours);

storeContract('the client of an etcd, on our own face', async () => {
  const { store, close } = await ours();
  const face = await serveEtcd({ ...common, store, addresses: ['127.0.0.1'], port: 0 });
  const client = await openExternalEtcd({ ...common, endpoints: `etcd://127.0.0.1:${face.port}` });
  return {
    store: client,
    close: async () => {
      await client.close();
      await face.close();
      await close();
    },
  };
});
