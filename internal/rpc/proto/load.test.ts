import { describe, expect, test } from 'vitest';
import { containerdDefinition, criDefinition, csiDefinition, healthDefinition } from './load.ts';

describe('embedded protocol definitions', () => {
  test('each names its services as upstream does', () => {
    expect(Object.keys(criDefinition())).toContain('runtime.v1.RuntimeService');
    expect(Object.keys(csiDefinition())).toContain('csi.v1.Node');
    expect(Object.keys(containerdDefinition())).toContain('containerd.services.events.v1.Events');
    const health = healthDefinition()['grpc.health.v1.Health'] as unknown as Record<string, { path: string }>;
    expect(health.Check?.path).toBe('/grpc.health.v1.Health/Check');
  });
});
