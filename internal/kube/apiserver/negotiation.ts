import type { ProtobufForm } from './protobuf/encode.ts';
import { notAcceptable, type StatusError } from '../machinery/status.ts';

/** What shape of answer the client asked for in Accept. */
export interface Negotiated {
  readonly format: 'json' | 'yaml' | 'protobuf';
  readonly as: 'object' | 'table' | 'partial';
  /** Version of meta.k8s.io for table and partial. */
  readonly metaVersion: 'v1' | 'v1beta1';
  /** Set for protobuf. */
  readonly protobuf?: ProtobufForm;
}

const plainJson: Negotiated = { format: 'json', as: 'object', metaVersion: 'v1' };

export interface MediaRange {
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** The media ranges of an Accept header, best first. Bounded: more than 32 are ignored. */
export function parseAccept(accept: string): MediaRange[] {
  const ranges = accept
    .split(',', 32)
    .map((part, index) => {
      const [type = '', ...rest] = part.trim().split(';');
      const parameters: Record<string, string> = {};
      for (const item of rest) {
        const eq = item.indexOf('=');
        if (eq > 0)
          parameters[item.slice(0, eq).trim()] = item
            .slice(eq + 1)
            .trim()
            .replace(/^"|"$/g, '');
      }
      const q = parameters.q === undefined ? 1 : Number(parameters.q);
      return { type: type.trim().toLowerCase(), parameters, q: Number.isFinite(q) ? q : 0, index };
    })
    .filter((range) => range.type !== '' && range.q > 0);
  ranges.sort((a, b) => b.q - a.q || a.index - b.index);
  return ranges;
}

/** As client-go writes it, with and without the stream of a watch. */
const onlyProtobuf =
  /^application\/vnd\.kubernetes\.protobuf(;stream=watch)?(,\s*application\/vnd\.kubernetes\.protobuf(;stream=watch)?)*$/;

const cache = new Map<string, Negotiated | StatusError>();
const accepted = ['application/json', 'application/yaml'];

/**
 * The first of the client's ranges that can be served. `transforms`: whether Table and PartialObjectMetadata are possible; `protobuf`: how the answer would be
 * encoded, where it can be: only for those who take nothing else, because JSON lies in the store as it is sent. Throws 406.
 */
export function negotiate(accept: string | null, transforms: boolean, protobuf?: ProtobufForm): Negotiated {
  if (accept === null || accept === '' || accept === '*/*' || accept === 'application/json') return plainJson;
  if (protobuf !== undefined && onlyProtobuf.test(accept)) return { ...plainJson, format: 'protobuf', protobuf };
  const key = `${transforms ? 1 : 0}${accept}`;
  const known = cache.get(key);
  if (known !== undefined) {
    if (known instanceof Error) throw known;
    return known;
  }
  let result: Negotiated | StatusError = notAcceptable(
    transforms
      ? [
          ...accepted,
          'application/json;as=Table;v=v1;g=meta.k8s.io',
          'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
        ]
      : accepted,
  );
  for (const range of parseAccept(accept)) {
    const one = accept1(range, transforms);
    if (one !== undefined) {
      result = one;
      break;
    }
  }
  if (cache.size > 200) cache.clear();
  if (accept.length < 1000) cache.set(key, result);
  if (result instanceof Error) throw result;
  return result;
}

function accept1(range: MediaRange, transforms: boolean): Negotiated | undefined {
  let format: 'json' | 'yaml';
  if (range.type === 'application/yaml' || range.type === 'text/yaml') format = 'yaml';
  else if (range.type === 'application/json' || range.type === '*/*' || range.type === 'application/*') format = 'json';
  else return undefined;
  const { as, v, g } = range.parameters;
  if (as === undefined) return { format, as: 'object', metaVersion: 'v1' };
  if (!transforms || g !== 'meta.k8s.io' || (v !== 'v1' && v !== 'v1beta1')) return undefined;
  if (as === 'Table') return { format, as: 'table', metaVersion: v };
  if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList')
    return { format, as: 'partial', metaVersion: v };
  return undefined;
}
