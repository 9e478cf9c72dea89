import { cryptoKeyText } from '../../ceph/auth/crypto.ts';
import type { Rados } from '../../ceph/client/rados-client.ts';
import type { Paths } from '../../config/paths.ts';
import { serveCsi } from '../../csi/grpc-server.ts';
import { identityService, rbdDriverName } from '../../csi/identity.ts';
import { rbdControllerService } from '../../csi/rbd-controller.ts';
import type { CsiUser } from '../../operator/objects.ts';
import { connectRadosAs, keyringKey, storageUsers } from '../ceph-connect-client.ts';
import type { RoleContext } from '../role.ts';

/** The Ceph users of the CSI driver, with their keys. */
export function csiUsers(paths: Paths): { provisioner: CsiUser; node: CsiUser } {
  const user = (entity: string) => ({
    userID: entity.replace(/^client\./, ''),
    userKey: cryptoKeyText(keyringKey(paths, entity)),
  });
  const { provisioner, node } = storageUsers(paths);
  return { provisioner: user(provisioner), node: user(node) };
}

/** The controller side of the rbd driver on its socket, with one RADOS client a user, made on first use. */
export async function startDriver({
  instance,
  paths,
  log,
  random,
}: RoleContext): Promise<{ socket: string; close(): Promise<void> }> {
  const socket = `${paths.instanceRunDir(instance)}/csi-provisioner.sock`;
  const clients = new Map<string, Promise<Rados>>();
  const driverLog = log.with({ component: 'csi-rbd' });
  const server = await serveCsi(
    socket,
    {
      Identity: identityService({ name: rbdDriverName, version: '1', controller: true }),
      Controller: rbdControllerService({
        random,
        clients: (user) => {
          const key = `${user.userId} ${user.userKey}`;
          let client = clients.get(key);
          if (!client) {
            client = connectRadosAs(paths, user, driverLog, 30_000);
            clients.set(key, client);
            client.catch(() => clients.delete(key));
          }
          return client;
        },
      }),
    },
    driverLog,
  );
  return {
    socket,
    close: async () => {
      await server.close();
      for (const client of clients.values()) await client.then((one) => one.close()).catch(() => undefined);
    },
  };
}
