import { defineConfig } from 'vitest/config';

const plugins = [
  {
    // Bun embeds `import text from './x.proto' with { type: 'text' }`; vite has to be told.
    name: 'text-imports',
    enforce: 'pre' as const,
    transform: (code: string, id: string) => (/\.(proto|service|table)$/.test(id) ? `export default ${JSON.stringify(code)};` : undefined),
  },
  {
    // The same for `import path from './x.zst' with { type: 'file' }`.
    name: 'file-imports',
    enforce: 'pre' as const,
    load: (id: string) => (id.endsWith('.zst') ? `export default ${JSON.stringify(id)};` : undefined),
  },
];

/** One after another, because each uses the whole machine. */
const alone = { fileParallelism: false, testTimeout: 120_000 };

export default defineConfig({
  plugins,
  test: {
    pool: 'threads',
    projects: [
      { extends: true, test: { name: 'unit', include: ['{cmd,internal}/**/*.test.ts', 'test/*.test.ts', 'test/sim/**/*.test.ts', 'test/lossy/**/*.test.ts', 'test/rados-api/*.test.ts', 'test/crash/history.test.ts'], testTimeout: 60_000, hookTimeout: 60_000 } },
      { extends: true, test: { name: 'conformance', include: ['test/conformance/**/*.test.ts'], testTimeout: 180_000, hookTimeout: 180_000 } },
      { extends: true, test: { name: 'build', include: ['test/build/**/*.test.ts'], ...alone } },
      { extends: true, test: { name: 'story', include: ['test/e2e/**/*.test.ts', 'test/peers/**/*.test.ts'], exclude: ['test/e2e/engine/**', 'test/e2e/join.test.ts', 'test/e2e/find.test.ts', 'test/e2e/disks.test.ts', 'test/e2e/servers.test.ts', 'test/e2e/mons.test.ts'], ...alone } },
      { extends: true, test: { name: 'starts', include: ['test/starts/**/*.test.ts'], ...alone } },
      { extends: true, test: { name: 'join', include: ['test/e2e/join.test.ts', 'test/e2e/find.test.ts', 'test/e2e/disks.test.ts'], ...alone } },
      { extends: true, test: { name: 'engine', include: ['test/e2e/engine/**/*.test.ts'], ...alone } },
      { extends: true, test: { name: 'servers', include: ['test/e2e/servers.test.ts', 'test/e2e/mons.test.ts'], ...alone } },
      { extends: true, test: { name: 'crash', include: ['test/crash/**/*.test.ts'], exclude: ['test/crash/history.test.ts'], ...alone } },
    ],
  },
});
