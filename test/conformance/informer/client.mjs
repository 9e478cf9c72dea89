/**
 * Informers of `@kubernetes/client-node` in a process of Node.js, as a user of that package writes them: `client.mjs NAMESPACE`, KUBECONFIG in the environment.
 * Started anew after each error. A line on standard input is answered by a line of JSON: what the caches hold and what their events told.
 */
import { createInterface } from 'node:readline';
import { CoreV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node';

const namespace = process.argv[2];
const config = new KubeConfig();
config.loadFromDefault();
const api = config.makeApiClient(CoreV1Api);

const follow = (path, list, labelSelector) => {
  const told = new Map();
  const counts = { error: 0, list: 0 };
  const counted = async () => {
    const found = await list();
    counts.list++;
    return found;
  };
  const informer = makeInformer(config, path, counted, labelSelector);
  for (const event of ['add', 'update'])
    informer.on(event, (object) => {
      told.set(object.metadata.name, object);
    });
  informer.on('delete', (object) => {
    told.delete(object.metadata.name);
  });
  const start = () => informer.start().catch(failed);
  function failed() {
    counts.error++;
    setTimeout(start, 20);
  }
  informer.on('error', failed);
  void start();
  return { informer, told, counts };
};

const path = `/api/v1/namespaces/${namespace}/configmaps`;
const labelSelector = 'side=left';
const all = follow(path, () => api.listNamespacedConfigMap({ namespace }));
const selected = follow(path, () => api.listNamespacedConfigMap({ namespace, labelSelector }), labelSelector);

createInterface({ input: process.stdin }).on('line', () => {
  const state = {};
  for (const [name, { informer, told, counts }] of Object.entries({ all, selected }))
    state[name] = { cache: informer.list() ?? [], told: [...told.values()], counts };
  process.stdout.write(`${JSON.stringify(state)}\n`);
});
process.stdin.on('end', () => process.exit(0));
