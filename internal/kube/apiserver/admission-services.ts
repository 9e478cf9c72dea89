import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { PolicyServices } from '../admission/policies.ts';
import type { KindInfo } from '../api/kinds.ts';
import { fillDefaults } from '../api/lifecycle.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { decodeObject } from '../machinery/decode.ts';
import type { JsonObject } from '../machinery/json.ts';
import { Feed } from './feed.ts';
import { resourcePrefix } from './keys.ts';
import { customEnvelope, type LiveKinds } from './live-kinds.ts';
import type { Registry } from './registry.ts';
import type { WatchHub } from './watch-hub.ts';
import { clientConfigOf, type WebhookClient } from './webhook-client.ts';

const group = 'admissionregistration.k8s.io';

/** Keeps the configurations of admission at hand, sorted by name, and does for webhooks and policies what needs the server. */
export class AdmissionConfigurations {
  readonly #feeds: Feed[];
  readonly #objects = new Map<string, Map<string, JsonObject>>();
  readonly #sorted = new Map<string, readonly JsonObject[]>();

  constructor(options: { kinds: LiveKinds; registry: Registry; hub: WatchHub; clock: Clock; log: Logger }) {
    this.#feeds = options.kinds.all
      .filter((kind) => kind.group === group && kind.version === 'v1')
      .map((kind) => {
        const objects = new Map<string, JsonObject>();
        this.#objects.set(kind.plural, objects);
        return new Feed({
          ...options,
          kind,
          handler: {
            set: (object) => {
              objects.set(String((object.metadata as JsonObject).name), object);
              this.#sorted.delete(kind.plural);
            },
            remove: (_namespace, name) => {
              objects.delete(name);
              this.#sorted.delete(kind.plural);
            },
          },
        });
      });
  }

  async start(): Promise<void> {
    for (const feed of this.#feeds) await feed.start();
  }

  list(plural: string): readonly JsonObject[] {
    let list = this.#sorted.get(plural);
    if (list === undefined) {
      const objects = this.#objects.get(plural) ?? new Map<string, JsonObject>();
      list = [...objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
      this.#sorted.set(plural, list);
    }
    return list;
  }

  close(): void {
    for (const feed of this.#feeds) feed.close();
  }
}

export function admissionServices(options: {
  kinds: LiveKinds;
  registry: Registry;
  configurations: AdmissionConfigurations;
  webhooks: WebhookClient;
  authorizer: Authorizer;
}): PolicyServices {
  const { kinds, registry, configurations, webhooks, authorizer } = options;
  return {
    kinds,
    schemas: kinds,
    configurations: (plural) => configurations.list(plural),
    equivalents: (kind: KindInfo) => {
      const prefix = resourcePrefix(kind);
      return kinds.all.filter((one) => one !== kind && !one.virtual && resourcePrefix(one) === prefix);
    },
    convert: (from, to, object) => registry.conversions.between(from, to, object),
    decode: (kind, object) => {
      const decoded = decodeObject(object, {
        schema: kind.custom === undefined ? kind.schema : customEnvelope,
        source: kinds,
        fieldValidation: 'Ignore',
      }).object;
      fillDefaults(kind, decoded);
      return decoded;
    },
    post: (config, review, timeoutMs) => webhooks.post(clientConfigOf(config), review, timeoutMs),
    allowed: (attributes) => authorizer.authorizeAtOnce(attributes),
  };
}
