import type { Config } from '../../internal/config/config.ts';
import { nodePaths, programFor } from '../../internal/config/paths.ts';
import { wrapped } from '../../internal/base/words.ts';
import type { StatusReport } from './status-report.ts';

export interface UpScreen {
  readonly config: Config;
  /** How the user calls this program. */
  readonly program: string;
  /** The configuration file that the node was started with, where one was named. */
  readonly file?: string | undefined;
  /** Undefined when nothing answered. */
  readonly report: StatusReport | undefined;
  /** Since the start of the node. */
  readonly seconds: number;
  /** Of the terminal, in characters. */
  readonly width?: number | undefined;
}

/** What `up` ends with: how the node is, where it is reached, and what to type next. Parts are apart by one empty line. */
export function upScreen({ config, program, file, report, seconds, width }: UpScreen): string {
  const paths = nodePaths(config.dataDir, config.runDir);
  const server = config.roles.includes('server');
  const mon = config.roles.includes('mon');
  const { monHosts, user: cephUser } = config.externalCeph;
  const external = config.storage.engine === 'external' && monHosts.length > 0;
  const ceph = mon || external;
  const api = server ? `https://${config.node.ip}:${config.ports.api}` : report?.facts.api;
  // Where several nodes live on one machine, the others must not be meant.
  const self = file !== undefined ? `${program} -c ${file}` : programFor({ runDir: config.runDir }, program);
  const variables = [
    ...(server ? [`KUBECONFIG=${paths.adminKubeconfig}`] : []),
    ...(ceph ? [`CEPH_CONF=${paths.cephConf}`] : []),
    // Every tool of Ceph is client.admin when it is not told.
    ...(external && cephUser !== 'admin' ? [`CEPH_ARGS='--id ${cephUser}'`] : []),
  ];
  const parts = [
    [
      report?.ready
        ? `Ready after ${seconds.toFixed(1)} s.`
        : `Not ready after ${seconds.toFixed(0)} s; it goes on in the background of this screen:`,
      ...(report?.sentences ?? ['nothing answers yet']).map((sentence) =>
        wrapped(`  ${sentence}`, width ?? Number.POSITIVE_INFINITY, '    '),
      ),
    ],
    [
      ...(api === undefined ? [] : [`  Kubernetes API   ${api}${server ? '' : ', a server of the cluster'}`]),
      ...(external ? [`  Ceph cluster     ${monHosts.join(', ')}, an external one`] : []),
      ...(mon ? [`  Ceph monitor     v2:${config.node.ip}:${config.ports.mon}`] : []),
    ],
    [
      'Next, in another terminal:',
      ...(variables.length > 0 ? [`  export ${variables.join(' ')}`] : []),
      ...(server ? ['  kubectl get nodes,pods -A -o wide'] : []),
      ...(server && ceph
        ? ['  kubectl apply -f examples/counter.yaml && kubectl -n counter rollout status statefulset/counter']
        : []),
      ...(ceph ? ['  ceph -s'] : []),
      ...(server ? [`  ${self} token create     # prints what other machines join with`] : []),
      `  ${self} status`,
    ],
    [`Ctrl-C here, or \`${self} down\`, stops everything and keeps the data.`],
  ];
  return `\n${parts
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n')}`;
}
