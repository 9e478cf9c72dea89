import { describe, expect, test } from 'vitest';
import { findUser, type SystemUser, type UserName, userProblem } from './users.ts';

const passwd = [
  'root:x:0:0:root:/root:/bin/bash',
  'broken',
  'appliance-mon:x:abc:1::/:/bin/sh',
  'appliance-server:x:999:998:appliance:/nonexistent:/usr/sbin/nologin',
  'appliance-mon:x:995:994:appliance:/nonexistent:/usr/sbin/nologin',
  'other:x:1000:1000::/home/other:/bin/sh',
].join('\n');
const problem = (more: string, users: [UserName, SystemUser][]) => userProblem(`${passwd}\n${more}`, new Map(users));

describe('users of roles', () => {
  test('are found by their whole name, and lines of another form are left out', () => {
    expect(findUser(passwd, 'appliance-server')).toEqual({ uid: 999, gid: 998 });
    expect(findUser(passwd, 'appliance-mon')).toEqual({ uid: 995, gid: 994 });
    expect(findUser(passwd, 'appliance')).toBeUndefined();
    expect(findUser('', 'root')).toBeUndefined();
  });

  test('that cannot be told apart are refused', () => {
    expect(problem('', [['appliance-mon', { uid: 995, gid: 994 }]])).toBeUndefined();
    expect(problem('', [['appliance-mon', { uid: 0, gid: 0 }]])).toBe('appliance-mon is root');
    expect(problem('eve:x:995:994::/:/bin/sh', [['appliance-mon', { uid: 995, gid: 994 }]])).toBe(
      'appliance-mon and eve are the same user, 995',
    );
    expect(
      problem('appliance-mgr:x:990:994::/:', [
        ['appliance-mon', { uid: 995, gid: 994 }],
        ['appliance-mgr', { uid: 990, gid: 994 }],
      ]),
    ).toBe('appliance-mgr and appliance-mon have the same group, 994');
  });
});
