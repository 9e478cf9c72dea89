import { createHash, createHmac } from 'node:crypto';

/**
 * An S3 for tests: objects of one bucket addressed by path, pages of a list, and every request's signature reckoned anew from what arrived (AWS Signature
 * Version 4, docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html). Nothing of the client's code is in it.
 */
export interface TestS3 {
  /** `http://127.0.0.1:port/bucket` */
  readonly url: string;
  /** By key. */
  readonly objects: Map<string, Uint8Array>;
  /** Code of each refusal. */
  readonly refused: string[];
  close(): Promise<void>;
}

export interface TestS3Options {
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Keys in one page of a list. */
  readonly pageKeys?: number;
}

const bucket = 'bucket';

export function startTestS3(options: TestS3Options): TestS3 {
  const objects = new Map<string, Uint8Array>();
  const refused: string[] = [];
  const uploads: Uploads = new Map();
  const refuse = (code: string, status = 403): Response => {
    refused.push(code);
    return new Response(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`, { status });
  };
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: async (request) => {
      const body = new Uint8Array(await request.arrayBuffer());
      const wrong = signatureError(request, body, options);
      if (wrong !== undefined) return refuse(wrong);
      const url = new URL(request.url);
      const [, name, ...rest] = url.pathname.split('/');
      if (name !== bucket) return refuse('NoSuchBucket', 404);
      const key = decodeURIComponent(rest.join('/'));
      const upload = url.searchParams.get('uploadId');
      if (upload !== null)
        return multipart(objects, uploads, { method: request.method, url, key, upload, body }, refuse);
      switch (request.method) {
        case 'POST': {
          if (!url.searchParams.has('uploads')) return refuse('MethodNotAllowed', 405);
          const id = `upload-${uploads.size + 1}`;
          uploads.set(id, new Map());
          return new Response(
            `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
          );
        }
        case 'PUT':
          objects.set(key, body);
          return new Response('', { headers: { etag: etag(body) } });
        case 'DELETE':
          objects.delete(key);
          return new Response(null, { status: 204 });
        case 'GET':
          if (key === '') return list(objects, url.searchParams, options.pageKeys ?? 1000);
          return objects.has(key) ? new Response(Buffer.from(objects.get(key)!)) : refuse('NoSuchKey', 404);
        default:
          return refuse('MethodNotAllowed', 405);
      }
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/${bucket}`,
    objects,
    refused,
    close: () => server.stop(true),
  };
}

/** Parts by number, by upload. */
type Uploads = Map<string, Map<number, Uint8Array>>;

const smallestPartBytes = 5 << 20;

/** UploadPart, CompleteMultipartUpload, AbortMultipartUpload. */
function multipart(
  objects: Map<string, Uint8Array>,
  uploads: Uploads,
  request: { method: string; url: URL; key: string; upload: string; body: Uint8Array },
  refuse: (code: string, status: number) => Response,
): Response {
  const { method, url, key, upload, body } = request;
  const parts = uploads.get(upload);
  if (parts === undefined) return refuse('NoSuchUpload', 404);
  if (method === 'PUT') {
    parts.set(Number(url.searchParams.get('partNumber')), body);
    return new Response('', { headers: { etag: etag(body) } });
  }
  uploads.delete(upload);
  if (method === 'DELETE') return new Response(null, { status: 204 });
  const asked = [
    ...Buffer.from(body)
      .toString()
      .matchAll(/<PartNumber>(\d+)<\/PartNumber>\s*<ETag>([^<]*)<\/ETag>/g),
  ];
  const chosen = asked.map(([, number]) => parts.get(Number(number)));
  if (asked.some(([, , tag], i) => chosen[i] === undefined || tag!.replaceAll('&quot;', '"') !== etag(chosen[i]!)))
    return refuse('InvalidPart', 400);
  if (chosen.slice(0, -1).some((part) => part!.length < smallestPartBytes)) return refuse('EntityTooSmall', 400);
  objects.set(key, new Uint8Array(Buffer.concat(chosen as Uint8Array[])));
  return new Response(`<CompleteMultipartUploadResult><Key>${key}</Key></CompleteMultipartUploadResult>`);
}

function etag(body: Uint8Array): string {
  return `"${createHash('md5').update(body).digest('hex')}"`;
}

/** ListObjectsV2. */
function list(objects: Map<string, Uint8Array>, query: URLSearchParams, pageKeys: number): Response {
  const prefix = query.get('prefix') ?? '';
  const after = query.get('continuation-token') ?? query.get('start-after') ?? '';
  const limit = Math.min(pageKeys, Number(query.get('max-keys') ?? 1000));
  const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
  const page = keys.slice(0, limit);
  const truncated = keys.length > limit;
  const contents = page.map((key) => `<Contents><Key>${key}</Key><Size>${objects.get(key)!.length}</Size></Contents>`);
  return new Response(
    `<?xml version="1.0"?><ListBucketResult><Name>${bucket}</Name><KeyCount>${page.length}</KeyCount><MaxKeys>${limit}</MaxKeys><IsTruncated>${truncated}</IsTruncated>${
      truncated ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''
    }${contents.join('')}</ListBucketResult>`,
  );
}

/** The code of S3's refusal; undefined when the signature is right. */
function signatureError(request: Request, body: Uint8Array, options: TestS3Options): string | undefined {
  const { headers } = request;
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.get('authorization') ?? '',
    );
  if (!match) return 'AccessDenied';
  const [, accessKey, day, region, signedHeaders, signature] = match as unknown as string[];
  if (accessKey !== options.accessKey) return 'InvalidAccessKeyId';
  if (region !== options.region) return 'AuthorizationHeaderMalformed';
  const time = headers.get('x-amz-date') ?? '';
  if (!time.startsWith(day!)) return 'AccessDenied';
  const declared = headers.get('x-amz-content-sha256') ?? '';
  if (declared !== 'UNSIGNED-PAYLOAD' && declared !== sha256(body)) return 'XAmzContentSHA256Mismatch';
  const names = signedHeaders!.split(';');
  if (!names.includes('host')) return 'AccessDenied';
  const url = new URL(request.url);
  const percent = (text: string): string =>
    encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  const canonical = [
    request.method,
    url.pathname,
    [...url.searchParams]
      .map(([name, value]) => `${percent(name)}=${percent(value)}`)
      .sort()
      .join('&'),
    ...names.map((name) => `${name}:${(headers.get(name) ?? '').trim()}`),
    '',
    signedHeaders!,
    declared,
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const hmac = (key: string | Uint8Array, text: string): Uint8Array =>
    new Uint8Array(createHmac('sha256', key).update(text).digest());
  const key = hmac(hmac(hmac(hmac(`AWS4${options.secretKey}`, day!), region!), 's3'), 'aws4_request');
  const expected = createHmac('sha256', key)
    .update(['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n'))
    .digest('hex');
  return expected === signature ? undefined : 'SignatureDoesNotMatch';
}

function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
