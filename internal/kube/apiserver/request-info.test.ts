import { describe, expect, test } from 'vitest';
import { negotiate } from './negotiation.ts';
import { encodeRecord, StoredRecord } from './record.ts';
import { parseRequest } from './request-info.ts';

const parse = (method: string, url: string): unknown => {
  const at = new URL(url, 'http://x');
  const info = parseRequest(method, at.pathname, at.searchParams);
  if (info === undefined) return undefined;
  if (!info.isResource) return `${info.verb} ${info.path}`;
  const { verb, group, namespace, resource, subresource, name, rest } = info;
  return [verb, group, namespace, resource, subresource, name, rest].join('|');
};

describe('request info', () => {
  test.each([
    ['GET', '/version', 'get /version'],
    ['GET', '/api/v1', 'get /api/v1'],
    ['GET', '/apis/apps/v1', 'get /apis/apps/v1'],
    ['GET', '/api/v1/pods', 'list|||pods|||'],
    ['GET', '/api/v1/pods?watch=1', 'watch|||pods|||'],
    ['GET', '/api/v1/pods?watch=false', 'list|||pods|||'],
    ['GET', '/api/v1/watch/pods', 'watch|||pods|||'],
    ['GET', '/api/v1/pods?fieldSelector=metadata.name%3Da', 'list|||pods||a|'],
    ['POST', '/api/v1/namespaces/n/pods', 'create||n|pods|||'],
    ['DELETE', '/api/v1/namespaces/n/pods', 'deletecollection||n|pods|||'],
    ['GET', '/api/v1/namespaces/n', 'get||n|namespaces||n|'],
    ['GET', '/api/v1/namespaces', 'list|||namespaces|||'],
    ['PUT', '/api/v1/namespaces/n/finalize', 'update||n|namespaces|finalize|n|'],
    ['PUT', '/api/v1/namespaces/n/status', 'update||n|namespaces|status|n|'],
    ['PATCH', '/apis/apps/v1/namespaces/n/deployments/d/scale', 'patch|apps|n|deployments|scale|d|'],
    ['GET', '/api/v1/namespaces/n/pods/p/proxy/a/b/', 'get||n|pods|proxy|p|a/b/'],
    ['GET', '/api/v1/nodes/n1/status', 'get|||nodes|status|n1|'],
    ['GET', '/api/v1/namespaces/%E0%A4%A/pods', undefined],
  ])('%s %s', (method, url, expected) => {
    expect(parse(method, url)).toBe(expected);
  });
});

describe('negotiation', () => {
  test.each([
    [null, 'json object'],
    ['*/*', 'json object'],
    ['application/yaml', 'yaml object'],
    ['application/vnd.kubernetes.protobuf, application/json', 'json object'],
    ['application/json;as=Table;v=v1;g=meta.k8s.io,application/json', 'json table'],
    ['application/json;q=0.1, application/yaml', 'yaml object'],
    ['application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1', 'json partial'],
    ['application/vnd.kubernetes.protobuf', '406'],
    ['application/json;as=Other;g=x;v=v1', '406'],
  ])('%s', (accept, expected) => {
    let got: string;
    try {
      const form = negotiate(accept, true);
      got = `${form.format} ${form.as}`;
    } catch {
      got = '406';
    }
    expect(got).toBe(expected);
  });
});

describe('record', () => {
  test('an object comes back as it was, with its revision in the middle of the bytes', () => {
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: 'a-é',
        namespace: 'n',
        uid: 'u',
        labels: { x: 'ü' },
        creationTimestamp: '2026-01-01T00:00:00Z',
        resourceVersion: '1',
      },
      data: { k: 'v ☃' },
    };
    const record = new StoredRecord(encodeRecord(object, { f: 'g' }), 42);
    expect(record.header).toEqual({ v: 'v1', l: { x: 'ü' }, f: { f: 'g' } });
    expect(record.object()).toEqual({ ...object, metadata: { ...object.metadata, resourceVersion: '42' } });
    const spliced = Buffer.concat(record.pieces(7)).toString();
    expect(JSON.parse(spliced)).toEqual({ ...object, metadata: { ...object.metadata, resourceVersion: '7' } });
    const whole = Buffer.concat(record.pieces());
    expect(record.jsonLength).toBe(whole.length);
    const target = Buffer.alloc(whole.length + 9, '.');
    expect(record.copyTo(target, 5)).toBe(whole.length + 5);
    expect(target.toString()).toBe(`.....${whole.toString()}....`);
  });

  test('what is no record is refused', () => {
    for (const bytes of [[], [1, 2, 3], [0x4b, 2, 0, 0, 0, 0, 0, 0, 0, 0], [0x4b, 1, 255, 255, 255, 255, 0, 0, 0, 0]])
      expect(() => new StoredRecord(Uint8Array.from(bytes), 1)).toThrow();
  });
});

test('a selector counts as it is read, not as its text looks', () => {
  const of = (method: string, fieldSelector: string): unknown => {
    const info = parseRequest(method, '/api/v1/namespaces/n/secrets', new URLSearchParams({ fieldSelector }))!;
    return [info.name, info.fieldSelector.map(({ field, operator, value }) => `${field} ${operator} ${value}`)];
  };
  expect(of('GET', 'type=x,metadata.name==a')).toEqual(['a', ['type = x', 'metadata.name = a']]);
  // One term: everything but a namespace of an odd name.
  const odd = 'metadata.namespace!=x\\,metadata.name=a';
  expect(of('GET', odd)).toEqual(['', ['metadata.namespace != x,metadata.name=a']]);
  expect(of('GET', 'metadata.name')).toEqual(['', []]);
  expect(of('DELETE', 'type=x')).toEqual(['', ['type = x']]);
  expect(of('POST', 'type=x')).toEqual(['', []]);
});
