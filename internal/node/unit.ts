import { AppError } from '../base/errors.ts';
import { otherVariables } from '../config/keys.ts';
import type { ConfigArguments } from '../config/machine-system.ts';

/** The systemd unit as it is in the tree, for what is installed. */

export const unitName = 'appliance.service';
/** Where the unit in the tree expects the executable. */
export const installedExecutable = '/usr/local/bin/appliance';

/** What of the installing command line the service is started with; paths are absolute. What is absent has its default. */
export interface ServiceArguments {
  readonly config?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly runDir?: string | undefined;
}

/** What `from` and the environment say, for the service; it gets no variables, so those that set keys are refused rather than lost. AppError INSTALL. */
export function serviceArguments(
  { file, flags }: ConfigArguments,
  variables: Readonly<Record<string, string | undefined>>,
  absolute: (path: string) => string,
): ServiceArguments {
  const lost = Object.keys(variables).filter(
    (name) => name.startsWith('APPLIANCE_') && !Object.hasOwn(otherVariables, name) && variables[name] !== undefined,
  );
  if (lost.length > 0)
    throw new AppError('INSTALL', `the service would run without ${lost.join(', ')} of this environment`, {
      hint: 'write what they say into the configuration file and unset them',
    });
  const path = (text: string | undefined): string | undefined => (text === undefined ? undefined : absolute(text));
  return {
    config: path(file ?? (variables.APPLIANCE_CONFIG || undefined)),
    dataDir: path(flags['data-dir']?.at(-1)),
    runDir: path(flags['run-dir']?.at(-1)),
  };
}

/** The unit that starts, reloads and describes a node with these arguments. */
export function unitText(template: string, { config, dataDir, runDir }: ServiceArguments = {}): string {
  const options = [
    ['--config', config],
    ['--data-dir', dataDir],
    ['--run-dir', runDir],
  ] as const;
  const given = options
    .flatMap(([name, path]) => (path === undefined ? [] : [`${name} ${unitArgument(path)} `]))
    .join('');
  // Directories that the node does not use are not made.
  const lines = template
    .split('\n')
    .filter((line) => dataDir === undefined || !line.startsWith('StateDirectory'))
    .filter((line) => runDir === undefined || !line.startsWith('RuntimeDirectory'))
    .filter((line) => runDir === undefined || !line.startsWith('# Sockets and mounts'));
  return lines
    .join('\n')
    .replaceAll(new RegExp(`^(Exec\\w+=${installedExecutable}) `, 'gm'), (_all, start: string) => `${start} ${given}`);
}

/** A path as one argument of an Exec line (systemd.service(5), "Command lines"). */
function unitArgument(path: string): string {
  if (/[\p{Cc}]/u.test(path))
    throw new AppError('INSTALL', `${JSON.stringify(path)} cannot be written into a unit: it has control characters`, {
      hint: 'rename it',
    });
  const escaped = path.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w./%$@:,+-]+$/.test(path) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`;
}
