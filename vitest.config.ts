import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [
    {
      // Bun embeds `import text from './x.proto' with { type: 'text' }`; vite has to be told.
      name: 'text-imports',
      enforce: 'pre',
      transform: (code, id) => (/\.proto$/.test(id) ? `export default ${JSON.stringify(code)};` : undefined),
    },
  ],
  test: {
    include: ['{cmd,internal}/**/*.test.ts', 'test/*.test.ts'],
    testTimeout: 30_000,
    pool: 'threads',
  },
});
