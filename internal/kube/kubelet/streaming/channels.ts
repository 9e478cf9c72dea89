/** Channels of the remote command protocols over WebSockets (k8s.io/apimachinery/pkg/util/remotecommand). */
export const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** Sub-protocols that exec and attach speak, the best first. Those before v4 have another form of error, or text instead of bytes. */
export const remoteCommandProtocols = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
] as const;

export type RemoteCommandProtocol = (typeof remoteCommandProtocols)[number] | '';

/** kubectl's port-forward: SPDY inside WebSocket messages (KEP-4006). */
export const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';

/** The protocol to speak with a client that offers `offered`; '' when it names none, undefined when there is none in common. */
export function chooseProtocol(offered: readonly string[]): RemoteCommandProtocol | undefined {
  if (offered.length === 0) return '';
  return remoteCommandProtocols.find((protocol) => offered.includes(protocol));
}

/** Splits a client's message into channel and data; undefined for what is none. */
export function splitChannel(
  protocol: RemoteCommandProtocol,
  message: Uint8Array,
): { id: number; data: Uint8Array } | undefined {
  if (message.length === 0) return undefined;
  if (!protocol.includes('base64')) return { id: message[0]!, data: message.subarray(1) };
  const id = message[0]! - 0x30;
  return { id, data: new Uint8Array(Buffer.from(Buffer.from(message.subarray(1)).toString('latin1'), 'base64')) };
}

/** A message of a channel as the client wants it. */
export function joinChannel(
  protocol: RemoteCommandProtocol,
  id: number,
  data: Uint8Array,
): { binary: boolean; message: Uint8Array } {
  if (protocol.includes('base64'))
    return { binary: false, message: new TextEncoder().encode(`${id}${Buffer.from(data).toString('base64')}`) };
  const message = new Uint8Array(data.length + 1);
  message[0] = id;
  message.set(data, 1);
  return { binary: true, message };
}

/** The error channel's content: a Status as JSON from v4 on, before that its message, and nothing after success. */
export function errorContent(protocol: RemoteCommandProtocol, status: Uint8Array): Uint8Array {
  if (protocol.startsWith('v4') || protocol.startsWith('v5')) return status;
  try {
    const parsed = JSON.parse(new TextDecoder().decode(status)) as { status?: string; message?: string };
    return parsed.status === 'Success' ? new Uint8Array(0) : new TextEncoder().encode(parsed.message ?? '');
  } catch {
    return status;
  }
}
