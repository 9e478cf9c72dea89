/**
 * `apiserver-process DIRECTORY CERTIFICATES`: an API server over its store, alone in a process, for measuring; CERTIFICATES is a file with a `TestPki` in JSON.
 * Tells its port on standard output when it takes connections. Without CERTIFICATES it does nothing: a process of the executable, which shares its pages.
 */
import { readFileSync } from 'node:fs';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { builtinOpenApi } from '../../internal/kube/api/builtin.ts';
import { startTestServer, type TestPki } from '../../internal/kube/apiserver/testing.ts';
import { openStore } from '../../internal/store/store.ts';

const [dir, certificates] = process.argv.slice(2) as [string, string | undefined];
if (certificates === undefined) {
  process.stdin.resume();
  console.log('idle');
} else {
  const common = { clock: systemClock, random: systemRandom, log: silentLogger };
  const server = await startTestServer({
    dir,
    store: await openStore({ ...common, dir: `${dir}/store`, disk: systemDisk }),
    pki: JSON.parse(readFileSync(certificates, 'utf8')) as TestPki,
    openapi: builtinOpenApi,
    port: 0,
  });
  console.log(server.listener!.port);
}
