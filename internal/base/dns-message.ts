import { type DecodedPacket, decode } from 'dns-packet';

const headerBytes = 12;
/** The shortest question (RFC 1035 4.1.2) and the shortest record (4.1.3). */
const minQuestionBytes = 5;
const minRecordBytes = 11;

/** The DNS message in `bytes`; undefined for what is none. What it costs is bounded by its size, whatever its header promises. */
export function decodeDnsMessage(bytes: Uint8Array): DecodedPacket | undefined {
  if (bytes.length < headerBytes) return undefined;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records = buffer.readUInt16BE(6) + buffer.readUInt16BE(8) + buffer.readUInt16BE(10);
  if (headerBytes + buffer.readUInt16BE(4) * minQuestionBytes + records * minRecordBytes > bytes.length)
    return undefined;
  try {
    return decode(buffer);
  } catch {
    // Anybody may send anything.
    return undefined;
  }
}
