import type { Config } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';

/** How this server's member of the store is called and found, by other members and by clients of etcd. */
export function controlMember({ node: { name, ip }, ports }: Config) {
  const peerUrls = [`https://${ip}:${ports.etcdPeer}`];
  return { name, node: name, peerUrls, clientUrls: [`https://${ip}:${ports.etcd}`] };
}

/** The store of this server as an etcd, and the files that open it. */
export function ownStoreAccess(config: Config) {
  const { pki } = nodePaths(config.dataDir, config.runDir);
  return {
    endpoints: `etcd://127.0.0.1:${config.ports.etcd}`,
    tls: {
      caFile: `${pki}/etcd-server-ca.crt`,
      certFile: `${pki}/etcd-client.crt`,
      keyFile: `${pki}/etcd-client.key`,
    },
  };
}
