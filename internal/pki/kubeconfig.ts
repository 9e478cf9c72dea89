import { stringify } from 'yaml';

/** A kubeconfig with everything embedded, as `kubectl config view --raw` prints it. */
export function kubeconfig(options: {
  cluster: string;
  server: string;
  ca: string;
  user: string;
  cert: string;
  key: string;
}): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: options.cluster,
          cluster: { server: options.server, 'certificate-authority-data': base64(options.ca) },
        },
      ],
      users: [
        {
          name: options.user,
          user: { 'client-certificate-data': base64(options.cert), 'client-key-data': base64(options.key) },
        },
      ],
      contexts: [{ name: options.cluster, context: { cluster: options.cluster, user: options.user } }],
      'current-context': options.cluster,
    },
    { lineWidth: 0 },
  );
}
