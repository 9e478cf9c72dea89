import { describe, expect, test } from 'vitest';
import type { Node } from '../../kube/api/types.ts';
import type { KubeObject } from '../../kube/client/api.ts';
import type { Member } from '../../store/api.ts';
import { memberFinalizer, type NodeStep, nodeStep } from './server-nodes.ts';

const marked = { finalizers: [memberFinalizer] };
const gone = { deletionTimestamp: '2026-01-01T00:00:00Z' };
const node = (metadata: object): Node & KubeObject => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'pi-2', ...metadata },
});
const member = (id: bigint, learner = false): Member => ({
  ...{ id, node: `pi-${id}`, name: `pi-${id}`, learner },
  ...{ peerUrls: [`https://10.0.0.${id}:2380`], clientUrls: [] },
});

describe('nodes of servers and members of the store', () => {
  test.each<[string, object, Member[], NodeStep]>([
    ['an agent is left alone', {}, [member(1n)], { do: 'nothing' }],
    ['a server is marked', {}, [member(1n), member(2n)], { do: 'mark' }],
    ['one that others hold is marked, too', { finalizers: ['x/y'] }, [member(2n)], { do: 'mark' }],
    ['a marked one stays', marked, [member(1n), member(2n)], { do: 'nothing' }],
    ['whose member was removed is a server no more', marked, [member(1n)], { do: 'release' }],
    [
      'a deleted one: its member goes first',
      { ...marked, ...gone },
      [member(1n), member(2n), member(3n)],
      { do: 'remove', member: 2n },
    ],
    ['a deleted learner', { ...marked, ...gone }, [member(1n), member(2n, true)], { do: 'remove', member: 2n }],
    ['its member is gone: so may the node', { ...marked, ...gone }, [member(1n)], { do: 'release' }],
    [
      'the only voter of two hands the store on',
      { ...marked, ...gone },
      [member(2n), member(3n, true)],
      { do: 'remove', member: 2n },
    ],
    ['the last server keeps the store', { ...marked, ...gone }, [member(2n)], { do: 'release' }],
    ['a deleted node that others hold', { ...gone, finalizers: ['x/y'] }, [member(1n)], { do: 'nothing' }],
  ])('%s', (_what, metadata, members, expected) => {
    expect(nodeStep(node(metadata), members)).toEqual(expected);
  });
});
