import { createHash } from 'node:crypto';
import { concatBytes, utf8 } from '../../../base/bytes.ts';
import { type Architecture, pauseElf } from './elf.ts';

/** The name under which containerd finds the image of pod sandboxes. No registry has it: it is imported. */
export const pauseImage = 'appliance.local/pause:1';

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** One file of a tar archive in the ustar format, padded to blocks of 512 bytes; no owner, no time, so that it is the same everywhere. */
function tarEntry(name: string, data: Uint8Array, mode: number): Uint8Array {
  const header = new Uint8Array(512);
  const put = (offset: number, text: string): void => header.set(utf8(text), offset);
  put(0, name);
  put(100, mode.toString(8).padStart(7, '0'));
  put(108, '0000000');
  put(116, '0000000');
  put(124, data.length.toString(8).padStart(11, '0'));
  put(136, '00000000000');
  put(148, '        ');
  put(156, '0');
  put(257, 'ustar');
  put(263, '00');
  const sum = header.reduce((a, b) => a + b, 0);
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return concatBytes([header, data, new Uint8Array((512 - (data.length % 512)) % 512)]);
}

/** A tar archive of the given files. */
export function tar(files: readonly { name: string; data: Uint8Array; mode?: number }[]): Uint8Array {
  return concatBytes([
    ...files.map((file) => tarEntry(file.name, file.data, file.mode ?? 0o644)),
    new Uint8Array(1024),
  ]);
}

/** A docker archive (`docker save` format) of one image with one layer. */
export function dockerArchive(options: {
  reference: string;
  architecture: Architecture;
  entrypoint: readonly string[];
  files: readonly { name: string; data: Uint8Array; mode?: number }[];
}): Uint8Array {
  const layer = tar(options.files);
  const config = utf8(
    JSON.stringify({
      architecture: options.architecture,
      os: 'linux',
      config: { Entrypoint: options.entrypoint, Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'appliance' }],
    }),
  );
  const configName = `${sha256(config)}.json`;
  const manifest = utf8(JSON.stringify([{ Config: configName, RepoTags: [options.reference], Layers: ['layer.tar'] }]));
  return tar([
    { name: configName, data: config },
    { name: 'layer.tar', data: layer },
    { name: 'manifest.json', data: manifest },
  ]);
}

/** The sandbox image as an archive that containerd can import. */
export function pauseArchive(architecture: Architecture): Uint8Array {
  return dockerArchive({
    reference: pauseImage,
    architecture,
    entrypoint: ['/pause'],
    files: [{ name: 'pause', data: pauseElf(architecture), mode: 0o755 }],
  });
}
