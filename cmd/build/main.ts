/**
 * `npm run build`: dist/appliance-linux-x64 and dist/appliance-linux-arm64 with dist/SHA256SUMS. `bun cmd/build/main.ts x64` makes one.
 * `bun cmd/build/main.ts faulty` makes the one in which the crash tests can plant faults.
 * The arm64 runtime and the arm64 build of the native checksum module come from the npm registry like every other dependency.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { $ } from 'bun';
import { compileOptions } from './compile-options.ts';
import { withoutZeros } from './elf.ts';

const root = join(import.meta.dir, '../..');
const dist = join(root, 'dist');
const cache = join(root, 'node_modules/.cache/appliance');
const architectures = {
  x64: { npm: 'x64', bun: 'bun-linux-x64', runtime: '@oven/bun-linux-x64' },
  arm64: { npm: 'arm64', bun: 'bun-linux-arm64', runtime: '@oven/bun-linux-aarch64' },
} as const;
type Architecture = keyof typeof architectures;

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};

/** The npm package `name@version` unpacked in the cache. */
async function npmPackage(name: string, version: string): Promise<string> {
  const directory = join(cache, `${name.replace('/', '+')}@${version}`);
  if (existsSync(join(directory, 'package/package.json'))) return join(directory, 'package');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  await $`npm pack --silent --pack-destination ${directory} ${name}@${version}`.cwd(root).quiet();
  await $`tar -xzf ${directory}/${name.replace('@', '').replace('/', '-')}-${version}.tgz -C ${directory}`;
  return join(directory, 'package');
}

async function build(architecture: Architecture, faulty = false): Promise<void> {
  const target = architectures[architecture];
  const output = join(dist, `appliance-linux-${architecture}${faulty ? '-faulty' : ''}`);
  const crc = `@node-rs/crc32-linux-${target.npm}-gnu`;
  if (!existsSync(join(root, 'node_modules', crc))) {
    // The bundler resolves the native module of the target by its own name; npm installs only the machine's.
    cpSync(await npmPackage(crc, manifest.dependencies['@node-rs/crc32']!), join(root, 'node_modules', crc), {
      recursive: true,
    });
  }
  const runtime = join(await npmPackage(target.runtime, manifest.devDependencies.bun!), 'bin/bun');
  const commit = (await $`git rev-parse --short HEAD`.cwd(root).nothrow().quiet().text()).trim() || 'unknown';
  // Of the commit, so that the same sources give the same bytes.
  const time = (await $`git log -1 --format=%ct`.cwd(root).nothrow().quiet().text()).trim() || '0';
  await $`${process.execPath} build ${compileOptions} --target=${target.bun} --compile-executable-path=${runtime} --define APPLIANCE_VERSION=${JSON.stringify(manifest.version)} --define APPLIANCE_COMMIT=${JSON.stringify(commit)} --define APPLIANCE_TIME=${time} ${faulty ? ['--define', 'APPLIANCE_PLANTED_FAULTS=true'] : []} --outfile ${output} cmd/appliance/main.ts ${await workerFiles()}`
    .cwd(root)
    .quiet();
  writeFileSync(output, withoutZeros(readFileSync(output)));
  console.log(`${output}  ${(statSync(output).size / 1e6).toFixed(1)} MB`);
}

/** SHA256SUMS of the executables that are in dist, in the form that `sha256sum -c` reads. */
function writeSums(): void {
  const lines = Object.keys(architectures)
    .map((architecture) => `appliance-linux-${architecture}`)
    .filter((name) => existsSync(join(dist, name)))
    .sort()
    .map(
      (name) =>
        `${createHash('sha256')
          .update(readFileSync(join(dist, name)))
          .digest('hex')}  ${name}\n`,
    );
  writeFileSync(join(dist, 'SHA256SUMS'), lines.join(''));
}

/** Worker entry points must be named to the compiler one by one. */
async function workerFiles(): Promise<string[]> {
  const found: string[] = [];
  for await (const file of new Bun.Glob('internal/**/*.worker.ts').scan(root)) found.push(file);
  return found.sort();
}

mkdirSync(dist, { recursive: true });
const asked = process.argv.slice(2).filter((name): name is Architecture => name in architectures);
if (process.argv[2] === 'faulty') await build(process.arch === 'arm64' ? 'arm64' : 'x64', true);
else
  for (const architecture of asked.length > 0 ? asked : (Object.keys(architectures) as Architecture[]))
    await build(architecture);
writeSums();
