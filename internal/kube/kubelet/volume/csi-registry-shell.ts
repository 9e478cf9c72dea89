import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../../base/errors.ts';
import { CsiNodeClient } from './csi-client.ts';

/** The CSI drivers whose sockets are at `<plugins>/<driver>/csi.sock`. */
export class CsiRegistry {
  readonly #directory: string;
  readonly #clients = new Map<string, CsiNodeClient>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  socket(driver: string): string {
    return join(this.#directory, driver, 'csi.sock');
  }

  /** Names of the drivers that have a socket now. */
  drivers(): string[] {
    if (!existsSync(this.#directory)) return [];
    return readdirSync(this.#directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && existsSync(this.socket(entry.name)))
      .map((entry) => entry.name)
      .sort();
  }

  client(driver: string): CsiNodeClient {
    if (!existsSync(this.socket(driver)))
      throw new AppError('CSI_DRIVER', `driver name ${driver} not found in the list of registered CSI drivers`, {
        hint: `its socket is expected at ${this.socket(driver)}`,
      });
    let client = this.#clients.get(driver);
    if (!client) {
      client = new CsiNodeClient(this.socket(driver));
      this.#clients.set(driver, client);
    }
    return client;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
