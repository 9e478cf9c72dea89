import type { Method } from '../grpc/service.ts';
import type { FaceContext } from './context.ts';
import { etcdError } from './errors.ts';
import { codec } from './messages.ts';

const refused = [
  'Authenticate',
  'UserAdd',
  'UserGet',
  'UserDelete',
  'UserChangePassword',
  'UserGrantRole',
  'UserRevokeRole',
  'RoleAdd',
  'RoleGet',
  'RoleDelete',
  'RoleGrantPermission',
  'RoleRevokePermission',
];

/** `etcdserverpb.Auth`: who has a client certificate may do everything; there are no users and no roles. */
export function authService({ unary, headerFields }: FaceContext): Map<string, Method> {
  const answer = (message: string, fields: object = {}): Method => {
    const { encode } = codec(message);
    return unary(async () => encode({ header: headerFields(), ...fields }));
  };
  const refuse = (code: string): Method =>
    unary(() => {
      throw etcdError(code);
    });
  return new Map<string, Method>([
    ['AuthStatus', answer('AuthStatusResponse', { enabled: false, authRevision: 1 })],
    ['AuthDisable', answer('AuthDisableResponse')],
    ['AuthEnable', refuse('ROOT_USER_NOT_EXIST')],
    ['UserList', answer('AuthUserListResponse')],
    ['RoleList', answer('AuthRoleListResponse')],
    ...refused.map((name) => [name, refuse('AUTH_NOT_ENABLED')] as const),
  ]);
}
