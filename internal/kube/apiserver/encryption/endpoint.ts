import { utf8Text } from '../../../base/bytes.ts';
import { badRequest, failure } from '../../machinery/status.ts';
import { jsonReply, type Reply } from '../reply.ts';
import { pathNotFound } from '../resources.ts';
import { type EncryptionAction, encryptionActions, encryptionPath } from './actions.ts';
import type { AtRest } from './at-rest.ts';

const act: Readonly<Record<EncryptionAction, (atRest: AtRest) => Promise<void>>> = {
  enable: (atRest) => atRest.enable(),
  disable: (atRest) => atRest.disable(),
  'rotate-keys': (atRest) => atRest.rotate(),
  reencrypt: (atRest) => atRest.reencrypt(),
};

/** The caller was authorized for the path. Throws StatusErrors. */
export async function serveEncryption(
  atRest: AtRest,
  path: string,
  method: string,
  body: () => Promise<Uint8Array>,
): Promise<Reply> {
  const methods: Record<string, string> = { status: 'GET', config: 'PUT' };
  const asked = path.slice(encryptionPath.length);
  if (!Object.hasOwn(methods, asked)) throw pathNotFound();
  if (methods[asked] !== method) throw failure(405, 'MethodNotAllowed', `${path} takes ${methods[asked]} only`, {});
  await atRest.refresh();
  if (asked === 'config') await act[actionOf(await body())](atRest);
  return jsonReply(atRest.status());
}

function actionOf(body: Uint8Array): EncryptionAction {
  let action: unknown;
  try {
    action = (JSON.parse(utf8Text(body)) as { action?: unknown } | null)?.action;
  } catch {
    // Told below.
  }
  const known = encryptionActions.find((one) => one === action);
  if (known === undefined)
    throw badRequest(`expected {"action": …} with one of ${encryptionActions.join(', ')}, got ${String(action)}`);
  return known;
}
