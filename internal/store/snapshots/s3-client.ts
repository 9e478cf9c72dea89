import { S3Client } from 'bun';
import type { SnapshotTarget } from './schedule-system.ts';

/** A bucket that has more names than this under the prefix is not for snapshots: what is beyond is not looked at. */
const maxNames = 100_000;

/** A bucket of any S3, `https://host:port/bucket/prefix`, addressed by its path. */
export function s3Target(options: {
  url: string;
  region: string;
  accessKey: string;
  secretKey: string;
}): SnapshotTarget {
  const { origin, pathname } = new URL(options.url);
  const [bucket, ...steps] = pathname.split('/').filter((step) => step !== '');
  const prefix = steps.length > 0 ? `${steps.join('/')}/` : '';
  const client = new S3Client({
    endpoint: origin,
    bucket: bucket!,
    region: options.region,
    accessKeyId: options.accessKey,
    secretAccessKey: options.secretKey,
  });
  return {
    name: `${origin}/${bucket}/${prefix}`,
    put: async (name, path) => {
      await client.write(`${prefix}${name}`, Bun.file(path), { type: 'application/octet-stream' });
    },
    list: async () => {
      const names: string[] = [];
      let startAfter: string | undefined;
      // From name to name: every S3 knows that, and a token of a list may be refused when the list changes.
      do {
        const { contents, isTruncated } = await client.list({
          prefix,
          ...(startAfter !== undefined && { startAfter }),
        });
        const last = contents?.at(-1)?.key;
        startAfter = isTruncated && last !== startAfter ? last : undefined;
        names.push(...(contents ?? []).map(({ key }) => key.slice(prefix.length)));
      } while (startAfter !== undefined && names.length < maxNames);
      return names;
    },
    remove: async (name) => {
      await client.delete(`${prefix}${name}`);
    },
  };
}
