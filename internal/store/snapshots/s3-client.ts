import { S3Client } from 'bun';
import type { SnapshotTarget } from './schedule-system.ts';

/** Names listed in one request; the schedule keeps far fewer. */
const listKeys = 1000;

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
      const { contents } = await client.list({ prefix, maxKeys: listKeys });
      return (contents ?? []).map(({ key }) => key.slice(prefix.length));
    },
    remove: async (name) => {
      await client.delete(`${prefix}${name}`);
    },
  };
}
