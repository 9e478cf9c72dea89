import { Database } from 'bun:sqlite';
import { dlopen, FFIType } from 'bun:ffi';
import { crc32c } from '../../internal/base/crc32c.ts';
import { roleTable } from '../../internal/node/role-table.ts';
import type { CommandModule } from './command.ts';

export const command: CommandModule = { define: (command) => void command.action(selfTest) };

/** Exercises what only fails once the program is compiled: the native parts, and that every role's modules load. */
async function selfTest(): Promise<void> {
  const known = crc32c(new Uint8Array(4096).fill(0x61));
  // Of 4096 letters "a", by the table as well as by native code.
  let byPieces = 0xffffffff;
  const { rawCrc32c } = await import('../../internal/base/crc32c.ts');
  for (let at = 0; at < 4096; at += 512) byPieces = rawCrc32c(byPieces, new Uint8Array(512).fill(0x61));
  if (known !== ~byPieces >>> 0) throw new Error(`crc32c: native ${known}, table ${~byPieces >>> 0}`);
  console.log('crc32c (native): ok');

  const database = new Database(':memory:');
  const row = database.query('select sqlite_version() as version').get() as { version: string };
  database.close();
  console.log(`sqlite: ok (${row.version})`);

  const libc = dlopen('libc.so.6', { getpid: { args: [], returns: FFIType.i32 } });
  if (libc.symbols.getpid() !== process.pid) throw new Error('ffi: getpid gives something else than process.pid');
  console.log('ffi: ok');

  const loaded: string[] = [];
  for (const entry of roleTable) {
    if (entry.run.kind !== 'module') continue;
    const module = await entry.run.load();
    if (typeof module.start !== 'function') throw new Error(`role ${entry.role} has no start`);
    loaded.push(entry.role);
  }
  console.log(`roles: ${loaded.join(', ')}`);
}
