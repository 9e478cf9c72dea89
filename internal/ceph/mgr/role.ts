import { existsSync, readFileSync } from 'node:fs';
import * as os from 'node:os';
import { AppError } from '../../base/errors.ts';
import type { StartRole } from '../../node/role.ts';
import { serveAdminSocket } from '../admin-socket/admin-socket-server.ts';
import { parseKeyring } from '../auth/keyring.ts';
import { cephRelease, cephVersion, cephVersionShort } from '../mon/version.ts';
import { parseMonHosts } from '../client/ceph-conf.ts';
import { firstMgr, joinedMgr } from './name.ts';
import { MgrServer } from './server.ts';

/** The manager's process: a mgr, and after one that lost its place the next, as a standby that knows nothing yet. */
export const start: StartRole = async (context) => {
  const { config, paths, clock, random, log } = context;
  const { ip } = config.node;
  const joined = joinedMgr(config.node.name);
  const name = existsSync(paths.keyring(`mgr.${joined}`)) ? joined : firstMgr;
  const entity = `mgr.${name}`;
  const keyringPath = paths.keyring(entity);
  const key = parseKeyring(readFileSync(keyringPath, 'utf8'), keyringPath).get(entity)?.key;
  if (key === undefined) throw new AppError('KEYRING', `${keyringPath} has no key of ${entity}`);
  let replacing: Promise<void> | undefined;
  const next = (): Promise<MgrServer> => {
    const { fsid, monAddrs } = parseMonHosts(readFileSync(paths.cephConf, 'utf8'), paths.cephConf);
    return MgrServer.start(
      {
        name,
        fsid,
        key,
        auth: config.storage.auth,
        monAddrs,
        ip,
        firstPort: config.ports.ceph,
        poolDefaultSize: config.storage.replication,
        metadata: metadata(),
        metricsPort: config.ports.prometheus,
        services: new Map([['prometheus', `http://${ip}:${config.ports.prometheus}/`]]),
        version: cephVersion,
        deposed: () => {
          replacing ??= replace()
            .catch((error: unknown) => context.fail(error))
            .finally(() => {
              replacing = undefined;
            });
        },
        clock,
        random,
        log,
      },
      context.stopping,
    );
  };
  let server = await next();
  const replace = async (): Promise<void> => {
    await server.stop();
    if (!context.stopping.aborted) server = await next();
  };
  const web = Bun.serve({
    hostname: ip,
    port: config.ports.prometheus,
    fetch: async (request) => {
      if (new URL(request.url).pathname !== '/metrics') return new Response('see /metrics\n', { status: 404 });
      return new Response(await server.metrics(), { headers: { 'content-type': 'text/plain; version=0.0.4' } });
    },
  });
  const admin = await serveAdminSocket(context, (command) => server.adminCommand(command));
  return {
    health: () => server.health(),
    stop: async () => {
      await admin.close();
      await web.stop(true);
      await replacing;
      await server.stop();
    },
  };
};

function metadata(): Map<string, string> {
  return new Map([
    ['arch', os.arch() === 'x64' ? 'x86_64' : os.arch() === 'arm64' ? 'aarch64' : os.arch()],
    ['ceph_release', cephRelease],
    ['ceph_version', cephVersion],
    ['ceph_version_short', cephVersionShort],
    ['cpu', os.cpus()[0]?.model ?? ''],
    ['hostname', os.hostname()],
    ['kernel_description', os.version()],
    ['kernel_version', os.release()],
    ['mem_total_kb', String(Math.floor(os.totalmem() / 1024))],
    ['os', os.type()],
  ]);
}
