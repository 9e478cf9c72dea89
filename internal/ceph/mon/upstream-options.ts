import type { Option, OptionType } from './options.ts';

/**
 * The options of Ceph 16.2.15, as `config help` of its daemons lists them: names, types, defaults and bounds. One line each, in upstream's order, with tabs between
 * name, type, level, flags (`runtime`, `fixed`), default, least, most, choices (`a|b`) and services.
 */
export function parseUpstreamOptions(text: string): Option[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [name, type, level, flags, initial, min, max, choices, services] = line.split('\t') as [
        string,
        ...string[],
      ];
      return {
        name,
        type: type as OptionType,
        initial: initial!,
        level: level as Option['level'],
        description: '',
        runtime: flags!.includes('runtime'),
        isFixed: flags!.includes('fixed'),
        ...(min !== '' && { min: Number(min) }),
        ...(max !== '' && { max: Number(max) }),
        ...(choices !== '' && { choices: choices!.split('|') }),
        ...(services !== '' && { services: services!.split(',') }),
      };
    });
}
