import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { newCryptoKey } from '../../internal/ceph/auth/crypto.ts';
import { formatKeyring } from '../../internal/ceph/auth/keyring.ts';
import type { BlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { MgrServer } from '../../internal/ceph/mgr/server.ts';
import { cephVersion } from '../../internal/ceph/mon/version.ts';
import { start as startMon } from '../../internal/ceph/mon/role.ts';
import type { OsdServer } from '../../internal/ceph/osd/osd-server.ts';
import { addrV2 } from '../../internal/ceph/wire/types.ts';
import type { Config } from '../../internal/config/config.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import type { RoleHandle } from '../../internal/node/role.ts';
import { type ClusterOsd, startClusterOsd } from './cluster-osd.ts';

const fsid = '1f6f2a3c-7d57-4d0b-9f0e-3a8b1c2d4e60';

/** A mon, a mgr and OSDs in this process, the unmodified tools of Debian's ceph-common beside it. */
export class CephCluster {
  readonly directory: string;
  readonly conf: string;
  readonly stores: BlockStore[] = [];
  readonly osds: (OsdServer | undefined)[] = [];
  readonly #port: number;
  /** OSDs that are processes of their own. */
  readonly #processes = new Map<number, Bun.Subprocess<'ignore', 'pipe', 'inherit'>>();
  readonly #keys = new Map<string, ReturnType<typeof newCryptoKey>>();
  #mon: RoleHandle | undefined;
  #mgr: MgrServer | undefined;

  /** Its ports begin at `port`. */
  constructor(name: string, port: number) {
    this.directory = mkdtempSync(join(tmpdir(), `${name}-`));
    this.conf = join(this.directory, 'ceph.conf');
    this.#port = port;
  }

  /** Runs a tool; gives what it printed. */
  async tool(
    argv: string[],
    input: string | Uint8Array = '',
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const [name, ...rest] = argv;
    const command = [name!, '-c', this.conf, ...rest];
    const child = Bun.spawn(command, { stdin: new Blob([input as string]), stdout: 'pipe', stderr: 'pipe' });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, stdout, stderr };
  }

  async must(argv: string[], input: string | Uint8Array = ''): Promise<string> {
    const { code, stdout, stderr } = await this.tool(argv, input);
    if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
    return stdout;
  }

  get #common() {
    return {
      fsid,
      monAddrs: [[addrV2('127.0.0.1', this.#port)]],
      ip: '127.0.0.1',
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    };
  }

  async start(osds: number): Promise<void> {
    const { directory, conf } = this;
    const paths = nodePaths(directory, join(directory, 'run'));
    const caps: Record<string, Record<string, string>> = {
      'mon.': { mon: 'allow *' },
      'client.admin': { mon: 'allow *', osd: 'allow *', mgr: 'allow *', mds: 'allow *' },
      'mgr.a': { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' },
    };
    for (let id = 0; id < osds; id++)
      caps[`osd.${id}`] = { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' };
    mkdirSync(join(paths.ceph, 'keyrings'), { recursive: true });
    for (const name of Object.keys(caps)) {
      const key = newCryptoKey(Date.now(), systemRandom);
      this.#keys.set(name, key);
      writeFileSync(paths.keyring(name), formatKeyring(new Map([[name, { key, caps: caps[name]! }]])));
    }
    writeFileSync(
      conf,
      `[global]\nfsid = ${fsid}\nmon host = [v2:127.0.0.1:${this.#port}]\nkeyring = ${paths.keyring('client.admin')}\ncrash dir = ${directory}\n`,
    );
    writeFileSync(paths.cephConf, readFileSync(conf));
    this.#mon = await startMon({
      role: 'mon',
      instance: 'mon',
      paths,
      log: silentLogger,
      clock: systemClock,
      random: systemRandom,
      stopping: new AbortController().signal,
      waits: () => undefined,
      fail: (error) => {
        throw error;
      },
      config: {
        node: { name: 'n', ip: '127.0.0.1', labels: {} },
        ports: { mon: this.#port },
        storage: { engine: 'embedded', replication: 3, failureDomain: 'osd', osd: [] },
      } as unknown as Config,
    });
    for (let id = 0; id < osds; id++) {
      await this.must(['ceph', 'osd', 'new', this.#uuid(id), String(id)]);
      await this.startOsd(id);
    }
    this.#mgr = await MgrServer.start({
      ...this.#common,
      name: 'a',
      key: this.#keys.get('mgr.a')!,
      auth: 'cephx',
      firstPort: this.#port + 1,
      poolDefaultSize: 3,
      metricsPort: 9283,
      metadata: new Map(),
      services: new Map(),
      deposed: () => undefined,
      version: cephVersion,
    });
  }

  #uuid(id: number): string {
    return `00000000-0000-4000-8000-00000000000${id}`;
  }

  #osd(id: number): ClusterOsd {
    const keyring = nodePaths(this.directory, join(this.directory, 'run')).keyring(`osd.${id}`);
    return { id, uuid: this.#uuid(id), fsid, directory: this.directory, keyring, monPort: this.#port };
  }

  /** Starts an OSD, or starts it again on its disk. */
  async startOsd(id: number): Promise<void> {
    const { store, server } = await startClusterOsd(this.#osd(id));
    this.stores[id] = store;
    this.osds[id] = server;
  }

  /** Starts an OSD that was stopped again, in a process of its own. */
  async spawnOsd(id: number): Promise<void> {
    const script = join(import.meta.dirname, 'cluster-osd-process.ts');
    const child = Bun.spawn([process.execPath, script, JSON.stringify(this.#osd(id))], {
      stdout: 'pipe',
      stderr: 'inherit',
    });
    this.#processes.set(id, child);
    const { value } = await child.stdout.getReader().read();
    if (value === undefined) throw new Error(`osd.${id} ended with ${await child.exited}`);
  }

  /** Ends such a process by SIGKILL. */
  async killOsd(id: number): Promise<void> {
    const child = this.#processes.get(id);
    this.#processes.delete(id);
    child?.kill('SIGKILL');
    await child?.exited;
  }

  async stopOsd(id: number): Promise<void> {
    await this.osds[id]?.stop();
    this.osds[id] = undefined;
  }

  async stop(): Promise<void> {
    await this.#mgr?.stop();
    for (const id of this.#processes.keys()) await this.killOsd(id);
    for (const osd of this.osds) await osd?.stop();
    await this.#mon?.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
