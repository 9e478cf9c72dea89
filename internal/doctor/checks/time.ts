import { authorityWarning } from '../../pki/authority-ends.ts';
import { type Check, fail, type Finding, ok, warn } from '../check.ts';
import { isUnknown } from '../facts.ts';

const seconds = (ms: number): string => `${(Math.abs(ms) / 1000).toFixed(Math.abs(ms) < 10_000 ? 2 : 0)} s`;
/** Ceph's mon_clock_drift_allowed. */
const driftWarnMs = 50;
/** Certificates are back-dated a day, tickets and leases bear a few seconds. */
const driftFailMs = 5_000;
const install = 'apt-get install chrony (or systemctl enable --now systemd-timesyncd)';

/** Less is not worth a word. */
const graceMs = 60_000;

const sanity: Check = {
  id: 'clock',
  title: 'clock',
  why: 'A clock in the past makes certificates "not yet valid" and stops mons; a Raspberry Pi has no battery for it.',
  needs: ['time'],
  evaluate({ time: { builtMs, lastMs, nowMs, synchronized } }) {
    const now = new Date(nowMs).toISOString();
    const set = `date -s @$(the right time) or wait for the time service; ${install}`;
    if (builtMs !== undefined && nowMs < builtMs)
      return fail(`${now} is before this program was made (${new Date(builtMs).toISOString()})`, set);
    // A clock that is in step is right: then the files are of a time when it was wrong.
    if (synchronized !== true && lastMs !== undefined && nowMs < lastMs - graceMs)
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

const lastKnown: Check = {
  id: 'last-time',
  title: 'last known time',
  why: "The clocks of a node's roles never show less: one that was noted in the future stays, with certificates and leases of that time.",
  needs: ['time'],
  evaluate({ time: { authorities: lives, lastKnownMs, nowMs, synchronized } }, { dataDir }) {
    if (lastKnownMs === undefined) return ok('none noted yet');
    const noted = new Date(lastKnownMs).toISOString();
    if (lastKnownMs <= nowMs + graceMs) return ok(noted);
    const ahead = `${noted} is ${seconds(lastKnownMs - nowMs)} ahead of the clock`;
    if (synchronized !== true)
      return warn(
        `${ahead}, and nothing keeps that in step: the node goes on from the noted time`,
        `set the clock: ${install}. Is it right already? Then stop the node, remove ${dataDir}/last-time and start it again`,
      );
    const authoritiesFromMs = Math.max(...lives.map(({ fromMs }) => fromMs));
    if (authoritiesFromMs > nowMs)
      return fail(
        `${ahead}, which is in step, and the authorities of the cluster are good from ${new Date(authoritiesFromMs).toISOString()} on only`,
        'this cluster was made while the clock was wrong: save what you need of it, then `appliance reset` and start anew',
      );
    return fail(
      `${ahead}, which is in step: it was noted while the clock was wrong`,
      '`appliance doctor --fix` notes the right time; then start the node again: certificates of the wrong time are issued anew',
      { do: 'note-time', dataDir },
    );
  },
};

const authorities: Check = {
  id: 'authorities',
  title: 'certificate authorities',
  why: 'What they have signed is good until their end, and they are not renewed: after ten years nobody in the cluster trusts anybody.',
  needs: ['time'],
  evaluate({ time: { authorities: lives, nowMs } }) {
    if (lives.length === 0) return ok('none here yet');
    const warning = authorityWarning(lives, nowMs);
    if (warning === undefined)
      return ok(`good until ${new Date(Math.min(...lives.map(({ endsMs }) => endsMs))).toISOString().slice(0, 10)}`);
    return (warning.urgent ? fail : warn)(
      warning.text,
      'move what runs here to a cluster that is made anew, before that day (docs/install.md, "After ten years")',
    );
  },
};

export const timeChecks: readonly Check[] = [sanity, lastKnown, synchronised, authorities];
