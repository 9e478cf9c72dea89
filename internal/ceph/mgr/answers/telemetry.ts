import { ENOTSUP, Refusal } from '../../mon/errno.ts';
import { pyJson } from '../format/python.ts';
import type { ModuleOptions } from '../module-options.ts';
import type { MgrHandler } from './context.ts';

/** Where upstream would send reports. Only shown: nothing here opens a connection to anybody outside. */
const reportUrl = 'https://telemetry.ceph.com/report';
const deviceUrl = 'https://telemetry.ceph.com/device';

/** `None` for what nobody has set. */
function textOrNull(modules: ModuleOptions, name: string): string | null {
  return modules.text('telemetry', name, '') || null;
}

function status(modules: ModuleOptions): Record<string, unknown> {
  return {
    channel_basic: modules.flag('telemetry', 'channel_basic', true),
    channel_crash: modules.flag('telemetry', 'channel_crash', true),
    channel_device: modules.flag('telemetry', 'channel_device', true),
    channel_ident: modules.flag('telemetry', 'channel_ident', false),
    contact: textOrNull(modules, 'contact'),
    description: textOrNull(modules, 'description'),
    device_url: modules.text('telemetry', 'device_url', deviceUrl),
    // Whatever the configuration says: see `on`.
    enabled: false,
    interval: modules.number('telemetry', 'interval', 24),
    last_opt_revision: modules.number('telemetry', 'last_opt_revision', 1),
    last_upload: null,
    leaderboard: modules.flag('telemetry', 'leaderboard', false),
    log_level: modules.text('telemetry', 'log_level', ''),
    log_to_cluster: modules.flag('telemetry', 'log_to_cluster', false),
    log_to_cluster_level: modules.text('telemetry', 'log_to_cluster_level', 'info'),
    log_to_file: modules.flag('telemetry', 'log_to_file', false),
    organization: textOrNull(modules, 'organization'),
    proxy: textOrNull(modules, 'proxy'),
    url: modules.text('telemetry', 'url', reportUrl),
  };
}

const never = 'this version collects no telemetry and sends nothing to anybody';

const refuse: MgrHandler = () => {
  throw new Refusal(ENOTSUP, `${never}: it cannot be switched on`);
};

/** What would be sent: nothing. */
const show =
  (report: object): MgrHandler =>
  () => ({ output: `${pyJson(report)}\n`, status: never });

/** `telemetry …`: always off. Tools that look whether it is on are told so in upstream's form. */
export const telemetryAnswers: Readonly<Record<string, MgrHandler>> = {
  'telemetry status': ({ modules }) => ({ output: `${pyJson(status(modules))}\n` }),
  'telemetry show': show({}),
  'telemetry show-device': show({}),
  'telemetry show-all': show({ device_report: {}, report: {} }),
  'telemetry off': () => ({}),
  'telemetry on': refuse,
  'telemetry send': refuse,
};
