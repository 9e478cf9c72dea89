import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { notifyAddress, notifyText, watchdogPingMs } from './notify.ts';
import { NotifyReceiver } from './notify.testing.ts';
import { ServiceManager } from './notify-system.ts';

const directory = mkdtempSync(join(tmpdir(), 'notify-'));
let made: { close(): void }[] = [];
afterEach(() => {
  for (const one of made) one.close();
  made = [];
  rmSync(join(directory, 'socket'), { force: true });
});

function pair(name: string, more: Record<string, string> = {}): { receiver: NotifyReceiver; manager: ServiceManager } {
  const receiver = new NotifyReceiver(name);
  const manager = new ServiceManager({ NOTIFY_SOCKET: name, ...more });
  made.push(receiver, manager);
  return { receiver, manager };
}

describe('the service manager is told', () => {
  test.each([join(directory, 'socket'), `@appliance-test-${process.pid}`])('on %s: the life of a service', (name) => {
    const { receiver, manager } = pair(name);
    expect(manager.present).toBe(true);
    manager.status('2 of 9 processes run.');
    manager.status('2 of 9 processes run.');
    manager.ready('All run.');
    manager.reloading();
    manager.ready('All run again.');
    manager.stopping();
    const messages = receiver.messages();
    const pid = process.pid;
    expect(messages.map((text) => text.replace(/USEC=\d+/, 'USEC=N'))).toEqual([
      'STATUS=2 of 9 processes run.',
      `READY=1\nMAINPID=${pid}\nSTATUS=All run.`,
      'RELOADING=1\nMONOTONIC_USEC=N',
      `READY=1\nMAINPID=${pid}\nSTATUS=All run again.`,
      'STOPPING=1',
    ]);
  });

  test('the time of a reload is that of CLOCK_MONOTONIC', () => {
    const { receiver, manager } = pair(join(directory, 'socket'));
    const uptimeUsec = (): number =>
      Number(/^\S+/.exec(Bun.spawnSync(['cat', '/proc/uptime']).stdout.toString())![0]) * 1e6;
    const before = uptimeUsec();
    manager.reloading();
    const told = Number(/MONOTONIC_USEC=(\d+)/.exec(receiver.messages()[0]!)![1]);
    // The uptime counts sleep as well, and in hundredths of a second.
    expect(told).toBeLessThanOrEqual(uptimeUsec() + 10_000);
    expect(told).toBeGreaterThan(0);
    expect(before).toBeGreaterThan(0);
  });

  test('the watchdog hears of it while all is well, and of the trouble instead when not', async () => {
    const { receiver, manager } = pair(join(directory, 'socket'), {
      WATCHDOG_USEC: '20000',
      WATCHDOG_PID: String(process.pid),
    });
    let trouble: string | undefined;
    manager.watch(() => trouble);
    const heard: string[] = [];
    const until = async (wanted: (text: string) => boolean): Promise<void> => {
      for (;;) {
        heard.push(...receiver.messages());
        if (heard.some(wanted)) return;
        await Bun.sleep(5);
      }
    };
    await until((text) => text === 'WATCHDOG=1');
    trouble = 'osd.0 does not stop and was not killed';
    await until((text) => text === `STATUS=${trouble}`);
    const after = heard.indexOf(`STATUS=${trouble}`);
    await Bun.sleep(60);
    heard.push(...receiver.messages());
    expect(heard.slice(after + 1)).toEqual([]);
  });

  test('a manager that reads nothing does not stop us; what matters arrives when it reads again', async () => {
    const { receiver, manager } = pair(join(directory, 'socket'));
    for (let i = 0; i < 2000; i++) manager.status(`message ${i}`);
    manager.ready('ready');
    manager.reloading();
    const heard: string[] = [];
    for (;;) {
      heard.push(...receiver.messages());
      if (heard.some((text) => text.startsWith('RELOADING=1'))) break;
      await Bun.sleep(20);
    }
    expect(heard.at(-2)).toMatch(/^READY=1/);
    for (let i = 0; i < 2000; i++) manager.status(`again ${i}`);
    while (!heard.includes('STATUS=again 1999')) {
      heard.push(...receiver.messages());
      await Bun.sleep(20);
    }
    expect(heard.length).toBeLessThan(2000);
  });

  test('without a manager nothing happens, and what it starts hears nothing of one', () => {
    const environment: Record<string, string | undefined> = {
      NOTIFY_SOCKET: 'relative',
      WATCHDOG_USEC: '1',
      WATCHDOG_PID: '1',
      KEPT: 'yes',
    };
    const manager = new ServiceManager(environment);
    expect(manager.present).toBe(false);
    manager.ready('x');
    manager.watch(() => undefined);
    manager.close();
    expect(environment).toEqual({ KEPT: 'yes' });
  });
});

describe('the protocol', () => {
  test('a value is one line', () => {
    expect(notifyText({ STATUS: 'one\ntwo\r\nREADY=1', ERRNO: 2 })).toBe('STATUS=one two READY=1\nERRNO=2');
  });

  test.each(['', 'relative', '@', '/', `/${'x'.repeat(107)}`, 'vsock:2:1'])('not an address: %j', (text) =>
    expect(notifyAddress(text)).toBeUndefined(),
  );

  test('the watchdog is asked for by its own variables, for this process', () => {
    expect(watchdogPingMs({ WATCHDOG_USEC: '30000000' }, 7)).toBe(15_000);
    expect(watchdogPingMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7' }, 7)).toBe(15_000);
    expect(watchdogPingMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' }, 7)).toBeUndefined();
    for (const text of [undefined, '', '0', '-1', 'x', '1e9'])
      expect(watchdogPingMs({ WATCHDOG_USEC: text }, 7)).toBeUndefined();
  });
});
