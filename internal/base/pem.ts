/** PEM (RFC 7468; as Go's encoding/pem reads it): blocks in a text that may have other text around them. */

export interface PemBlock {
  /** What stands behind BEGIN. */
  readonly type: string;
  /** Whether lines `name: value` stand before the content (RFC 1421). */
  readonly headers: boolean;
  readonly bytes: Buffer;
  /** The block as it is written, from BEGIN to END. */
  readonly text: string;
}

const begin = '-----BEGIN ';
const dashes = '-----';

/** The blocks in their order. What has no end of its own kind is no block. Takes time in proportion to the text, whatever stands in it. */
export function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (let at = text.indexOf(begin); at >= 0; ) {
    const typeEnd = text.indexOf(dashes, at + begin.length);
    if (typeEnd < 0) break;
    const type = text.slice(at + begin.length, typeEnd);
    const body = typeEnd + dashes.length;
    // No content has dashes in a row, so the next are those of the end, or this is no block.
    const bodyEnd = text.indexOf(dashes, body);
    if (bodyEnd < 0) break;
    const end = `-----END ${type}-----`;
    if (!/^[A-Z0-9 ]+$/.test(type) || !text.startsWith(end, bodyEnd)) {
      at = text.indexOf(begin, typeEnd);
      continue;
    }
    const content = text.slice(body, bodyEnd);
    if (/^\r?\n/.test(content))
      blocks.push({
        type,
        headers: content.includes(':'),
        bytes: Buffer.from(content.replace(/^.*:.*$/gm, ''), 'base64'),
        text: text.slice(at, bodyEnd + end.length),
      });
    at = text.indexOf(begin, bodyEnd + end.length);
  }
  return blocks;
}

/** Every certificate of a bundle, each as PEM. */
export function pemCertificates(text: string): string[] {
  return pemBlocks(text)
    .filter(({ type }) => type === 'CERTIFICATE')
    .map((block) => block.text);
}
