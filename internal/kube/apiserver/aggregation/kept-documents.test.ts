import { describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import { type Fetched, KeptDocuments } from './kept-documents.ts';

/** An extension server: what it has, and what it was asked. */
class Extension {
  readonly documents = new Map<string, { text: string; etag?: string }>();
  readonly asked: string[] = [];
  silent = false;

  readonly fetch = async (path: string, etag: string | undefined): Promise<Fetched> => {
    this.asked.push(`${path} ${etag ?? '-'}`);
    if (this.silent) throw new Error('no answer in 5000 ms');
    const found = this.documents.get(path);
    if (found === undefined) return { status: 404, etag: undefined, body: new Uint8Array(0) };
    if (etag !== undefined && etag === found.etag) return { status: 304, etag, body: new Uint8Array(0) };
    return { status: 200, etag: found.etag, body: utf8(found.text) };
  };
}

const text = (body: Uint8Array | undefined): string | undefined => (body === undefined ? undefined : utf8Text(body));

describe('documents of an extension server', () => {
  test('are fetched once, whoever asks and how many at a time; one that is not there, too', async () => {
    const extension = new Extension();
    extension.documents.set('/a', { text: 'one', etag: '"1"' });
    const kept = new KeptDocuments(extension.fetch);
    const all = await Promise.all([kept.get('/a'), kept.get('/a'), kept.get('/b')]);
    expect(all.map(text)).toEqual(['one', 'one', undefined]);
    expect(text(await kept.get('/a'))).toBe('one');
    expect(await kept.get('/b')).toBeUndefined();
    expect(extension.asked).toEqual(['/a -', '/b -']);
  });

  test('are asked for again by ETag: what is not modified stays, what is new or gone counts as a change', async () => {
    const extension = new Extension();
    extension.documents.set('/a', { text: 'one', etag: '"1"' });
    const kept = new KeptDocuments(extension.fetch);
    expect(await kept.refresh()).toBe(false);
    expect(extension.asked).toEqual([]);
    const before = await kept.get('/a');
    expect(await kept.refresh()).toBe(false);
    expect(extension.asked).toEqual(['/a -', '/a "1"']);
    expect(await kept.get('/a')).toBe(before);
    extension.documents.set('/a', { text: 'two', etag: '"2"' });
    expect(await kept.refresh()).toBe(true);
    expect(text(await kept.get('/a'))).toBe('two');
    extension.documents.delete('/a');
    expect(await kept.refresh()).toBe(true);
    expect(await kept.get('/a')).toBeUndefined();
    expect(await kept.refresh()).toBe(false);
    extension.documents.set('/a', { text: 'three' });
    expect(await kept.refresh()).toBe(true);
    // Without ETags it is the bytes that tell.
    expect(await kept.refresh()).toBe(false);
    expect(extension.asked.at(-1)).toBe('/a -');
  });

  test('stay as they were while the server does not answer; one that was never had is asked for again', async () => {
    const extension = new Extension();
    extension.documents.set('/a', { text: 'one', etag: '"1"' });
    extension.documents.set('/b', { text: 'two' });
    const kept = new KeptDocuments(extension.fetch);
    await kept.get('/a');
    extension.silent = true;
    await expect(kept.refresh()).rejects.toThrow('no answer');
    expect(text(await kept.get('/a'))).toBe('one');
    await expect(kept.get('/b')).rejects.toThrow('no answer');
    extension.silent = false;
    expect(text(await kept.get('/b'))).toBe('two');
  });

  test('an answer that is neither the document nor 404 is no document, nor is a 304 without an ETag', async () => {
    const answers = [500, 304];
    const kept = new KeptDocuments(async () => ({ status: answers.shift()!, etag: undefined, body: utf8('x') }));
    await expect(kept.get('/a')).rejects.toThrow('bad status from the server: 500');
    await expect(kept.get('/a')).rejects.toThrow('bad status from the server: 304');
  });
});
