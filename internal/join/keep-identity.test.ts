import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { effectiveConfig } from '../config/load.ts';
import { effectiveConfigFile, nodePaths } from '../config/paths.ts';
import { kubeconfigMode } from './keep-identity-client.ts';

test('the kubeconfig keeps the mode that a reload gave it, not the one that the role was started with', () => {
  const directory = mkdtempSync(join(tmpdir(), 'identity-'));
  try {
    const text = `dataDir: ${directory}/data\nrunDir: ${directory}/run\n`;
    const started = effectiveConfig(text, 'f', { hostname: 'n1', ip: '10.0.0.1', freeBytes: 1e12 });
    const paths = nodePaths(started.dataDir, started.runDir);
    expect(kubeconfigMode(started, paths)).toBe('0600');
    mkdirSync(paths.runDir);
    writeFileSync(effectiveConfigFile(paths.runDir), JSON.stringify({ ...started, writeKubeconfigMode: '0640' }));
    expect(kubeconfigMode(started, paths)).toBe('0640');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
