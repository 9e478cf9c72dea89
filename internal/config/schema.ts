import { z } from 'zod';
import { isIPv4 } from './cidr.ts';

/**
 * The shape of `appliance.yaml`: what a user may write, before defaults. Every key is optional. Unknown keys are refused.
 * `load.ts` turns it into a `Config`.
 */

const ipv4 = z.string().refine(isIPv4, 'expected an IPv4 address such as 192.168.1.10');
const cidr = z
  .string()
  .refine(
    (text) => /^[^/]+\/\d{1,2}$/.test(text) && isIPv4(text.split('/')[0]!) && Number(text.split('/')[1]) <= 32,
    'expected an IPv4 network such as 10.42.0.0/16',
  );
const port = z.int().min(1).max(65535);
const absolutePath = z
  .string()
  .max(4096)
  .refine(
    (text) => text.startsWith('/') && !text.includes('\0'),
    'expected an absolute path such as /var/lib/appliance',
  );
const dnsLabel = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'expected lower-case letters, digits and "-", such as node-1');
const dnsName = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    'expected a DNS name such as cluster.local',
  );

const serverUrl = z
  .string()
  .max(300)
  .regex(
    /^https:\/\/[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:\d{1,5})?\/?$/,
    'expected the address of a server such as https://192.168.1.10:6443',
  );

const sizeUnits: Record<string, number> = {
  '': 1,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Bytes of `10Gi`, `500M`, `1073741824`; undefined when it is not a size. */
export function parseSize(text: string | number): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?$/.exec(String(text).trim());
  if (!match) return undefined;
  const bytes = Math.floor(Number(match[1]) * sizeUnits[match[2] ?? '']!);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}

const size = z
  .union([z.string(), z.number()])
  .refine((value) => parseSize(value) !== undefined, 'expected a size such as 10Gi')
  .transform((value) => parseSize(value)!);

/** Below this an OSD has no room for its journal and index. */
const minOsdBytes = 512 * 2 ** 20;
const osdSize = size.refine((bytes) => bytes >= minOsdBytes, 'expected at least 512Mi');

const osd = z
  .strictObject({
    id: z.int().min(0).max(9999).optional(),
    file: absolutePath.optional(),
    directory: absolutePath.optional(),
    device: absolutePath.optional(),
    size: osdSize.optional(),
  })
  .superRefine((value, context) => {
    const places = [value.file, value.directory, value.device].filter((place) => place !== undefined).length;
    if (places !== 1)
      context.addIssue({ code: 'custom', message: 'expected exactly one of file, directory and device' });
    if (value.device !== undefined && value.size !== undefined)
      context.addIssue({
        code: 'custom',
        message: 'expected no size with device: the whole device is used',
        path: ['size'],
      });
  });

export const roleNames = ['server', 'agent', 'mon', 'mgr', 'osd'] as const;

export const fileSchema = z.strictObject({
  node: z
    .strictObject({
      name: dnsLabel.optional(),
      ip: ipv4.optional(),
      labels: z.record(z.string().max(317), z.string().max(63)).optional(),
    })
    .optional(),
  roles: z.array(z.enum(roleNames)).min(1).optional(),
  dataDir: absolutePath.optional(),
  runDir: absolutePath.optional(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).optional(),
  cluster: z
    .strictObject({
      podCIDR: cidr.optional(),
      serviceCIDR: cidr.optional(),
      dnsIP: ipv4.optional(),
      domain: dnsName.optional(),
      serviceNodePortRange: z
        .string()
        .regex(/^\d{1,5}-\d{1,5}$/, 'expected a range of ports such as 30000-32767')
        .optional(),
    })
    .optional(),
  ports: z
    .strictObject({
      api: port.optional(),
      kubelet: port.optional(),
      mon: port.optional(),
      ceph: port.max(65000).optional(),
      dns: port.optional(),
      prometheus: port.optional(),
    })
    .optional(),
  containerd: z
    .strictObject({
      command: z.string().min(1).max(4096).optional(),
      cniBinDirs: z.array(absolutePath).min(1).optional(),
    })
    .optional(),
  imagesDir: absolutePath.optional(),
  manifestsDir: absolutePath.optional(),
  server: serverUrl.optional(),
  token: z
    .string()
    .min(8, 'expected at least 8 characters')
    .max(512)
    .regex(/^[!-~]+$/, 'expected no spaces')
    .optional(),
  tlsSans: z
    .array(z.union([ipv4, dnsName], { error: 'expected an IPv4 address or a DNS name' }))
    .max(64)
    .optional(),
  writeKubeconfigMode: z
    .string()
    .regex(/^0?[0-7]{3}$/, "expected an octal mode in quotes such as '0600' or '0644'")
    .optional(),
  storage: z
    .strictObject({
      engine: z.literal('embedded').optional(),
      replication: z.int().min(1).max(10).optional(),
      failureDomain: z.enum(['osd', 'host']).optional(),
      osd: z.array(osd).max(64).optional(),
    })
    .optional(),
});

export type ConfigFile = z.infer<typeof fileSchema>;
