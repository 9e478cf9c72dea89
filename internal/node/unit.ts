import { AppError } from '../base/errors.ts';

/** The systemd unit as it is in the tree, for what is installed. */

export const unitName = 'appliance.service';
/** Where the unit in the tree expects the executable. */
export const installedExecutable = '/usr/local/bin/appliance';

/** The unit for a configuration file; undefined: the default one. */
export function unitText(template: string, configFile: string | undefined): string {
  if (configFile === undefined) return template;
  const argument = unitArgument(configFile);
  return template.replaceAll(
    new RegExp(`^(Exec\\w+=${installedExecutable}) `, 'gm'),
    (_all, start: string) => `${start} --config ${argument} `,
  );
}

/** A path as one argument of an Exec line (systemd.service(5), "Command lines"). */
function unitArgument(path: string): string {
  if (/[\p{Cc}]/u.test(path))
    throw new AppError('INSTALL', `${JSON.stringify(path)} cannot be written into a unit: it has control characters`, {
      hint: 'rename the configuration file',
    });
  const escaped = path.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w./%$@:,+-]+$/.test(path) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`;
}
