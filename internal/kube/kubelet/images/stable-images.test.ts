import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tryCommand } from '../../../base/command-system.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemClock } from '../../../base/system.ts';
import { nodePaths } from '../../../config/paths.ts';
import { effectiveConfig } from '../../../config/load.ts';
import { prepareContainerd } from '../containerd-system.ts';
import { CriClient } from '../cri/cri-client.ts';
import { pauseImage } from '../pause/archive.ts';
import { ImageManager } from './image-manager-shell.ts';
import { doubtful, parseStableImages } from './stable-images.ts';

const image = (id: string) => ({ id });

describe('which images may have lost files', () => {
  const record = { format: 1, bootId: 'before', ids: ['a', 'b'] } as const;

  test('after a new start of the machine: those that were not noted', () => {
    expect(doubtful([image('a'), image('c')], record, 'now')).toEqual([image('c')]);
  });

  test('while the same kernel runs: none; without a record, as of an earlier version: none', () => {
    expect(doubtful([image('c')], record, 'before')).toEqual([]);
    expect(doubtful([image('c')], undefined, 'now')).toEqual([]);
  });

  test.each(['', '{', '[]', '{"format":2,"bootId":"x","ids":[]}', '{"format":1,"bootId":"x","ids":[1]}'])(
    'a record that is damaged is none: %j',
    (text) => expect(parseStableImages(text)).toBeUndefined(),
  );
});

const able = process.getuid?.() === 0 && Bun.which('containerd') !== null && Bun.which('ctr') !== null;

/** Over a containerd of its own, whose unpacked files are emptied as a power loss leaves them when nothing was synced. */
describe.runIf(able)('a power loss between unpacking and the sync', () => {
  let directory: string;
  let containerd: Bun.Subprocess | undefined;
  let cri: CriClient;

  const places = () => {
    const config = effectiveConfig(
      `roles: [server, agent]\ndataDir: ${directory}/data\nrunDir: ${directory}/run\n`,
      'test',
      { hostname: 'n', ip: '127.0.0.1', freeBytes: 1e12 },
    );
    return { config, paths: nodePaths(config.dataDir, config.runDir) };
  };
  const snapshots = (): string =>
    join(places().paths.agent, 'containerd/io.containerd.snapshotter.v1.overlayfs/snapshots');
  const files = (): string[] =>
    readdirSync(snapshots(), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  const emptied = (): string[] => files().filter((file) => statSync(file).size === 0);

  const manager = (bootId: string): ImageManager => {
    const { config, paths } = places();
    return new ImageManager({
      cri,
      socket: paths.containerdSocket,
      containerdCommand: config.containerd.command,
      imagesDir: config.imagesDir,
      contentDir: paths.agent,
      recordFile: join(paths.agent, 'images.json'),
      stableFile: join(paths.agent, 'images-stable.json'),
      bootId,
      clock: systemClock,
      log: silentLogger,
    });
  };

  async function start(): Promise<void> {
    const { config, paths } = places();
    mkdirSync(paths.runDir, { recursive: true });
    mkdirSync(config.imagesDir, { recursive: true });
    containerd = Bun.spawn(await prepareContainerd(config, paths), { stdout: 'ignore', stderr: 'ignore' });
    cri = new CriClient(paths.containerdSocket);
    for (;;)
      try {
        await cri.version();
        return;
      } catch {
        await Bun.sleep(100);
      }
  }
  async function stop(): Promise<void> {
    cri.close();
    containerd?.kill('SIGTERM');
    await containerd?.exited;
    // Its mounts for unpacking are in this namespace.
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    for (const target of mounts.split('\n').map((line) => line.split(' ')[4]!))
      if (target?.startsWith(directory)) await tryCommand(['umount', '-l', target]);
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'images-'));
    await start();
  }, 60_000);
  afterAll(async () => {
    await stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test('the image is unpacked again from what was downloaded; what was noted is left alone', async () => {
    const { paths } = places();
    await manager('first boot').start();
    const noted = parseStableImages(readFileSync(join(paths.agent, 'images-stable.json'), 'utf8'))!;
    const pause = (await cri.imageStatus(pauseImage))!;
    expect(noted).toEqual({ format: 1, bootId: 'first boot', ids: [pause.id] });
    const whole = files().map((file) => readFileSync(file).length);
    expect(whole.every((size) => size > 0) && whole.length > 0).toBe(true);

    // Noted: it is believed, also after another start of the machine.
    for (const file of files()) truncateSync(file);
    await manager('second boot').start();
    expect(emptied().length).toBe(whole.length);

    // Not noted, as when the power was lost before the sync: unpacked again.
    await Bun.write(join(paths.agent, 'images-stable.json'), '{"format":1,"bootId":"second boot","ids":[]}');
    await manager('third boot').start();
    expect(emptied()).toEqual([]);
    expect(files().map((file) => readFileSync(file).length)).toEqual(whole);
    expect(await cri.imageStatus(pauseImage)).toMatchObject({ id: pause.id });
    expect(readdirSync(paths.agent).filter((name) => name.startsWith('.unpack-'))).toEqual([]);
    expect(parseStableImages(readFileSync(join(paths.agent, 'images-stable.json'), 'utf8'))).toEqual({
      format: 1,
      bootId: 'third boot',
      ids: [pause.id],
    });
  }, 120_000);

  test('what was downloaded is damaged as well: the image is fetched again from its archive', async () => {
    const { paths } = places();
    const blobs = join(paths.agent, 'containerd/io.containerd.content.v1.content/blobs/sha256');
    for (const name of readdirSync(blobs)) truncateSync(join(blobs, name));
    for (const file of files()) truncateSync(file);
    await Bun.write(join(paths.agent, 'images-stable.json'), '{"format":1,"bootId":"third boot","ids":[]}');
    await manager('fourth boot').start();
    expect(await cri.imageStatus(pauseImage)).not.toBeNull();
    expect(emptied()).toEqual([]);
  }, 120_000);
});
