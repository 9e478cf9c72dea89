import { mastersGroup, type UserInfo } from '../auth/identity.ts';
import type { JsonObject } from '../machinery/json.ts';
import { type Status, StatusError } from '../machinery/status.ts';
import type { BootstrapObject } from '../auth/default-roles.ts';
import type { ApiApp } from './app.ts';

const conflictsMax = 10;

const self: UserInfo = { name: 'system:apiserver', groups: [mastersGroup] };

/** The API server's calls to itself. */
export class SelfCaller {
  readonly #app: ApiApp;
  constructor(app: ApiApp) {
    this.#app = app;
  }

  /** Throws StatusError for a refusal. */
  async call(method: string, path: string, body?: JsonObject | BootstrapObject): Promise<JsonObject> {
    const response = await this.#app.fetch(
      new Request(`http://apiserver${path}`, {
        method,
        headers: { 'content-type': 'application/json', 'user-agent': 'apiserver' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      { identity: self },
    );
    const value = (await response.json()) as JsonObject;
    if (!response.ok) throw new StatusError(value as unknown as Status);
    return value;
  }

  async find(path: string): Promise<JsonObject | undefined> {
    try {
      return await this.call('GET', path);
    } catch (error) {
      if (error instanceof StatusError && error.httpCode === 404) return undefined;
      throw error;
    }
  }

  /** Creates what is missing; when it is there, `repair` may give a corrected object to write. */
  async ensure(
    collection: string,
    object: JsonObject,
    repair?: (live: JsonObject) => JsonObject | undefined,
  ): Promise<void> {
    const path = `${collection}/${encodeURIComponent(String((object.metadata as JsonObject).name))}`;
    await this.again(async () => {
      const live = await this.find(path);
      if (live === undefined) {
        await this.call('POST', collection, object);
        return;
      }
      const next = repair?.(live);
      if (next !== undefined) await this.call('PUT', path, next);
    });
  }

  /** Repeats what another server was quicker with: several start at the same time. */
  async again(work: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof StatusError && error.httpCode === 409) || attempt === conflictsMax) throw error;
      }
    }
  }
}
