import { AppError, errorText } from '../../../base/errors.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { parseYaml } from '../../machinery/yaml-text.ts';

/** Where audit events are sent to, from a file in kubeconfig form (docs: tasks/debug/debug-cluster/audit, "Webhook backend"). */
export interface AuditWebhookTarget {
  readonly url: string;
  readonly authorization: string | undefined;
  /** Certificates as PEM text. */
  readonly tls: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly serverName?: string;
    readonly rejectUnauthorized?: boolean;
  };
}

const fail = (why: string): AppError =>
  new AppError('AUDIT', `audit.webhookConfigFile: ${why}`, { hint: 'it has to be a kubeconfig' });

/** `read` gives the text of a file that the configuration names. Throws AppError AUDIT. */
export function parseWebhookConfig(text: string, read: (path: string) => string): AuditWebhookTarget {
  let value: unknown;
  try {
    value = parseYaml(text).value;
  } catch (error) {
    throw fail(errorText(error));
  }
  if (!isObject(value as Json)) throw fail('it is no map');
  const config = value as JsonObject;
  const named = (list: Json | undefined, name: string, what: string): JsonObject => {
    const all = Array.isArray(list) ? list.filter(isObject) : [];
    // A file for one server may leave contexts out.
    const found = name === '' ? all[0] : all.find((one) => one.name === name);
    if (found === undefined && name !== '') throw fail(`there is no ${what} ${JSON.stringify(name)}`);
    const inner = found?.[what];
    return isObject(inner) ? inner : {};
  };
  const current = word(config['current-context']);
  const context = named(config.contexts, current, 'context');
  const cluster = named(config.clusters, word(context.cluster), 'cluster');
  const user = named(config.users, word(context.user), 'user');
  const url = word(cluster.server);
  if (!/^https?:\/\/[^/]/.test(url)) throw fail(`the cluster's server is ${JSON.stringify(url)}, expected a URL`);
  const material = (from: JsonObject, field: string): string | undefined => {
    const inline = word(from[`${field}-data`]);
    if (inline !== '') return Buffer.from(inline, 'base64').toString('utf8');
    const path = word(from[field]);
    if (path === '') return undefined;
    try {
      return read(path);
    } catch (error) {
      throw fail(`${field}: ${errorText(error)}`);
    }
  };
  const tls = {
    ca: material(cluster, 'certificate-authority'),
    cert: material(user, 'client-certificate'),
    key: material(user, 'client-key'),
    serverName: word(cluster['tls-server-name']) || undefined,
    rejectUnauthorized: cluster['insecure-skip-tls-verify'] === true ? false : undefined,
  };
  if ((tls.cert === undefined) !== (tls.key === undefined)) throw fail('a client certificate needs its key');
  const token = word(user.token) || material({ token: user.tokenFile ?? '' }, 'token')?.trim() || '';
  const name = word(user.username);
  const basic = name === '' ? undefined : `Basic ${Buffer.from(`${name}:${word(user.password)}`).toString('base64')}`;
  return {
    url,
    authorization: token === '' ? basic : `Bearer ${token}`,
    tls: Object.fromEntries(Object.entries(tls).filter(([, one]) => one !== undefined)),
  };
}

function word(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}
