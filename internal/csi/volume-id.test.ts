import { describe, expect, test } from 'vitest';
import { formatVolumeId, parseVolumeId } from './volume-id.ts';

const uuid = '6c1e7a2e-5a5e-4a4b-9d5f-0b9c2f3d4e5f';

describe('volume id', () => {
  test('is composed as ceph-csi does', () => {
    const text = formatVolumeId({ clusterId: 'rook-ceph', poolId: 18, uuid });
    expect(text).toBe(`0001-0009-rook-ceph-0000000000000012-${uuid}`);
    expect(parseVolumeId(text)).toEqual({ clusterId: 'rook-ceph', poolId: 18, uuid });
  });

  test.each([
    '',
    'pvc-1',
    `0002-0009-rook-ceph-0000000000000012-${uuid}`,
    `0001-000a-rook-ceph-0000000000000012-${uuid}`,
    `0001-ffff-rook-ceph-${uuid}`,
  ])('%j is refused', (text) => {
    expect(() => parseVolumeId(text)).toThrow('is not a volume handle');
  });
});
