import { type Check, fail, type Finding, ok, warn } from '../check.ts';
import { isUnknown } from '../facts.ts';

const seconds = (ms: number): string => `${(Math.abs(ms) / 1000).toFixed(Math.abs(ms) < 10_000 ? 2 : 0)} s`;
/** Ceph's mon_clock_drift_allowed. */
const driftWarnMs = 50;
/** Certificates are back-dated a day, tickets and leases bear a few seconds. */
const driftFailMs = 5_000;
const install = 'apt-get install chrony (or systemctl enable --now systemd-timesyncd)';

const sanity: Check = {
  id: 'clock',
  title: 'clock',
  why: 'A clock in the past makes certificates "not yet valid" and stops mons; a Raspberry Pi has no battery for it.',
  needs: ['time'],
  evaluate({ time: { builtMs, lastMs, nowMs } }) {
    const now = new Date(nowMs).toISOString();
    const set = `date -s @$(the right time) or wait for the time service; ${install}`;
    if (builtMs !== undefined && nowMs < builtMs)
      return fail(`${now} is before this program was made (${new Date(builtMs).toISOString()})`, set);
    if (lastMs !== undefined && nowMs < lastMs - 60_000)
      return fail(`${now} is ${seconds(lastMs - nowMs)} before what this node has written already`, set);
    return ok(now);
  },
};

const synchronised: Check = {
  id: 'time-source',
  title: 'time source and skew',
  why: 'Mons warn of 0.05 s between them; leases and tickets of nodes with different clocks end early.',
  needs: ['time'],
  evaluate({ time: { maxErrorMs, serverSkewMs, services, synchronized } }) {
    const findings: Finding[] = [];
    const by = services.join(', ');
    if (services.length === 0 && synchronized !== true)
      findings.push(warn('no time service runs: the clock drifts', install));
    else if (isUnknown(synchronized)) findings.push(ok(`${by} runs`));
    else if (!synchronized)
      findings.push(
        warn(
          `${by} runs, but the clock is not in step yet`,
          'wait some minutes; then look at `chronyc sources` or `timedatectl timesync-status`: is a time server reached?',
        ),
      );
    else
      findings.push(
        ok(
          `in step${by ? ` by ${by}` : ' (by the host, it seems)'}${maxErrorMs === undefined ? '' : `, at most ${seconds(maxErrorMs)} off`}`,
        ),
      );
    if (services.length > 1)
      findings.push(warn(`two time services fight over the clock: ${by}`, `disable one of them`));
    if (serverSkewMs !== undefined) {
      const text = `${seconds(serverSkewMs)} ${serverSkewMs > 0 ? 'behind' : 'ahead of'} the cluster's server`;
      const fix = `${install} on every node`;
      // The server tells whole seconds: a difference below one is none.
      if (Math.abs(serverSkewMs) >= driftFailMs) findings.push(fail(text, fix));
      else if (Math.abs(serverSkewMs) > 1_000 + driftWarnMs) findings.push(warn(text, fix));
      else findings.push(ok("no skew to the cluster's server that it would tell"));
    }
    return findings;
  },
};

export const timeChecks: readonly Check[] = [sanity, synchronised];
