import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Paths } from '../config/paths.ts';
import type { AuthorityLife } from './authority-ends.ts';

/** The authorities whose certificates this machine has: a server all of them, a node that joined two. */
export function readAuthorityLives({ identity, pki }: Pick<Paths, 'identity' | 'pki'>): AuthorityLife[] {
  return [identity, pki].flatMap((directory) =>
    (existsSync(directory) ? readdirSync(directory) : [])
      .filter((name) => name.endsWith('-ca.crt'))
      .map((name) => {
        const { validFromDate, validToDate } = new X509Certificate(readFileSync(join(directory, name)));
        return {
          name: name.slice(0, -'.crt'.length),
          fromMs: validFromDate.getTime(),
          endsMs: validToDate.getTime(),
        };
      }),
  );
}
