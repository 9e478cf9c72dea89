import { FLAG_POLL } from '../mon/commands/table.ts';

/** Signature and help of one command that the mgr executes. */
export interface MgrCommand {
  readonly signature: string;
  readonly help: string;
  readonly module: string;
  readonly perm: string;
  /** Of `FLAG_*`, beside what says that the mgr executes it. */
  readonly flags?: number;
}

const command = (signature: string, help: string, perm = 'r'): MgrCommand => ({ signature, help, module: 'mgr', perm });
const pools = 'name=pools,type=CephString,n=N';
const plan = 'name=plan,type=CephString';

/** The commands of upstream's modules. */
export const moduleCommands: readonly MgrCommand[] = [
  command('balancer status', 'show whether PGs are moved to even out OSDs'),
  command(
    'balancer mode name=mode,type=CephChoices,strings=none|crush-compat|upmap',
    'say how PGs are moved: upmap, by exceptions for single ones',
    'rw',
  ),
  command('balancer on', 'let PGs be moved', 'rw'),
  command('balancer off', 'let no PGs be moved', 'rw'),
  command('balancer pool ls', 'list the pools whose PGs are moved; none: all'),
  command(`balancer pool add ${pools}`, 'let PGs of these pools be moved', 'rw'),
  command(`balancer pool rm ${pools}`, 'let no PGs of these pools be moved', 'rw'),
  command(
    'balancer eval name=option,type=CephString,req=false',
    'show how evenly the cluster, a pool or a plan is spread',
  ),
  command('balancer eval-verbose name=option,type=CephString,req=false', 'show that with all numbers'),
  command(`balancer optimize ${plan} ${pools},req=false`, 'look for what would make it more even, and keep it', 'rw'),
  command(`balancer show ${plan}`, 'show a plan as commands'),
  command(`balancer rm ${plan}`, 'forget a plan', 'rw'),
  command('balancer reset', 'forget all plans', 'rw'),
  command(`balancer dump ${plan}`, 'show a plan as JSON'),
  command('balancer ls', 'list the plans'),
  command(`balancer execute ${plan}`, 'carry a plan out', 'rw'),
  command('crash ls', 'list crashes of daemons'),
  command('crash ls-new', 'list crashes that nobody has archived'),
  command('crash info name=id,type=CephString', 'show a crash'),
  command('crash post', 'keep the report of a crash (-i)', 'rw'),
  command('crash rm name=id,type=CephString', 'forget a crash', 'rw'),
  command('crash prune name=keep,type=CephString', 'forget crashes older than so many days', 'rw'),
  command('crash archive name=id,type=CephString', 'let a crash be no warning any more', 'w'),
  command('crash archive-all', 'let no crash be a warning any more', 'w'),
  command('crash stat', 'count crashes by age'),
  command('crash json_report name=hours,type=CephString', 'count crashes by program'),
  command('progress clear', 'forget what was done', 'rw'),
  command('progress on', 'show recovery as progress', 'rw'),
  command('progress off', 'show no progress', 'rw'),
  command('device ls', 'list the disks that daemons are on'),
  command('device info name=devid,type=CephString', 'show a disk'),
  command('device ls-by-daemon name=who,type=CephString', 'list the disks of a daemon'),
  command('device ls-by-host name=host,type=CephString', 'list the disks of a host'),
  command(
    'device set-life-expectancy name=devid,type=CephString name=from,type=CephString name=to,type=CephString,req=False',
    'say when a disk is expected to fail',
    'rw',
  ),
  command('device rm-life-expectancy name=devid,type=CephString', 'take that back', 'rw'),
  command('device check-health', 'look which disks are expected to fail soon', 'rw'),
  command('device monitoring on', 'warn of disks that are expected to fail soon', 'rw'),
  command('device monitoring off', 'do not warn of them', 'rw'),
  command('device ls-lights', 'list lights of disks that are on'),
  command(
    'device light name=enable,type=CephChoices,strings=on|off name=devid,type=CephString name=light_type,type=CephChoices,strings=ident|fault,req=false name=force,type=CephBool,req=false',
    'not supported by this version',
    'rw',
  ),
  command('device query-daemon-health-metrics name=who,type=CephString', 'not supported by this version: SMART'),
  command('device scrape-daemon-health-metrics name=who,type=CephString', 'not supported by this version: SMART'),
  command('device scrape-health-metrics name=devid,type=CephString,req=false', 'not supported by this version: SMART'),
  command(
    'device get-health-metrics name=devid,type=CephString name=sample,type=CephString,req=false',
    'not supported by this version: SMART',
  ),
  command('device predict-life-expectancy name=devid,type=CephString', 'not supported by this version: SMART'),
  command('config show name=who,type=CephString name=key,type=CephString,req=False', 'show what a daemon goes by'),
  command('config show-with-defaults name=who,type=CephString', 'show that with what nobody has set'),
  {
    ...command(
      'iostat name=width,type=CephInt,req=false name=print_header,type=CephBool,req=false',
      'show what clients do',
    ),
    flags: FLAG_POLL,
  },
  command('prometheus file_sd_config', 'list where Prometheus gets metrics from'),
  command('healthcheck history ls', 'list the health checks that there were'),
  command('healthcheck history clear', 'forget them', 'rw'),
  command('telemetry status', 'show that nothing is sent to anybody'),
  command('telemetry show name=channels,type=CephString,n=N,req=false', 'show what would be sent: nothing'),
  command('telemetry show-device', 'show what would be sent of disks: nothing'),
  command('telemetry show-all', 'show both'),
  command('telemetry off', 'nothing to switch off', 'rw'),
  command('telemetry on name=license,type=CephString,req=false', 'refused: nothing is ever sent', 'rw'),
  command(
    'telemetry send name=endpoint,type=CephChoices,strings=ceph|device,n=N,req=false name=license,type=CephString,req=false',
    'refused: nothing is ever sent',
    'rw',
  ),
  command('fs volume ls', 'list file systems'),
  command('fs status name=fs,type=CephString,req=false', 'show file systems'),
  command('orch status name=detail,type=CephBool,req=false', 'show what runs daemons: nodes, as their roles say'),
  command(
    'orch ps name=hostname,type=CephString,req=false name=service_name,type=CephString,req=false name=daemon_type,type=CephString,req=false name=daemon_id,type=CephString,req=false name=refresh,type=CephBool,req=false',
    'list daemons',
  ),
  command(
    'orch ls name=service_type,type=CephString,req=false name=service_name,type=CephString,req=false name=export,type=CephBool,req=false name=refresh,type=CephBool,req=false',
    'count daemons by kind',
  ),
  command('orch host ls', 'list the hosts of daemons'),
  command(
    'orch device ls name=hostname,type=CephString,n=N,req=false name=refresh,type=CephBool,req=false name=wide,type=CephBool,req=false',
    'list the disks of OSDs',
  ),
  command('orch name=args,type=CephString,n=N,req=false', 'refused: what runs where, the configuration of nodes says'),
  command('osd pool get noautoscale', 'tell whether the autoscaler is held back'),
  command('osd pool set noautoscale', 'hold the autoscaler back, for all pools', 'rw'),
  command('osd pool unset noautoscale', 'let the autoscaler work, for all pools', 'rw'),
];

const load =
  'name=oload,type=CephInt,req=false name=max_change,type=CephFloat,req=false name=max_osds,type=CephInt,req=false';
const byPool = 'name=pools,type=CephPoolname,n=N,req=false';

/** Weights against OSDs that are too full. */
export const reweightCommands: readonly MgrCommand[] = [
  {
    signature: `osd reweight-by-utilization ${load} name=no_increasing,type=CephChoices,strings=--no-increasing,req=false`,
    help: 'lower the weights of OSDs that are fuller than the average by so many percent (120)',
    module: 'osd',
    perm: 'rw',
  },
  {
    signature: `osd test-reweight-by-utilization ${load} name=no_increasing,type=CephBool,req=false`,
    help: 'show what that would change',
    module: 'osd',
    perm: 'r',
  },
  {
    signature: `osd reweight-by-pg ${load} ${byPool}`,
    help: 'lower the weights of OSDs that have more PGs than the average by so many percent (120)',
    module: 'osd',
    perm: 'rw',
  },
  {
    signature: `osd test-reweight-by-pg ${load} ${byPool}`,
    help: 'show what that would change',
    module: 'osd',
    perm: 'r',
  },
];
