import { addrVecText, entityNameText, type EntityNum, parseAddr, parseEntityName } from '../wire/types.ts';
import type { UTime } from '../wire/encoding.ts';
import { LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_SECURITY, LOG_WARN, type LogEntry } from '../wire/messages/log.ts';
import { utimeText } from './format/units.ts';

/** Lines of the cluster log that are kept. */
export const logLinesKept = 2000;

const levels: readonly (readonly [number, word: string, short: string])[] = [
  [LOG_DEBUG, 'debug', '[DBG]'],
  [LOG_INFO, 'info', '[INF]'],
  [LOG_SECURITY, 'sec', '[SEC]'],
  [LOG_WARN, 'warn', '[WRN]'],
  [LOG_ERROR, 'error', '[ERR]'],
];

export function logLevel(word: string): number | undefined {
  return levels.find(([, name]) => name === word)?.[0];
}
export function logLevelTag(level: number): string {
  return levels.find(([n]) => n === level)?.[2] ?? '[???]';
}

/** `2026-11-21T00:47:11.123456+0000 mon.a (mon.0) 12 : cluster [INF] text`: a line as `ceph log last` shows it. */
export function logText(line: LogEntry): string {
  const rank = `${entityNameText(line.name).split('.')[0]}.${line.rank.num}`;
  return `${utimeText(line.stamp)} ${entityNameText(line.name)} (${rank}) ${line.seq} : ${line.channel} ${logLevelTag(line.level)} ${line.message}`;
}

interface StoredLine {
  name: string;
  rank: EntityNum;
  addrs: string[];
  stamp: UTime;
  seq: number;
  level: number;
  message: string;
  channel: string;
}

export function logToJson(line: LogEntry): StoredLine {
  return { ...line, name: entityNameText(line.name), addrs: line.addrs.map((addr) => addrVecText([addr])) };
}

export function logFromJson(stored: StoredLine): LogEntry {
  return {
    ...stored,
    name: parseEntityName(stored.name) ?? { type: 0, id: '' },
    addrs: stored.addrs.flatMap((text) => parseAddr(text) ?? []),
  };
}
