import { utimeFromMs } from '../../wire/encoding.ts';
import { utimeText } from './units.ts';

/** How times of mutes are written. */
export const encodeHealthTime = { timeText: (ms: number): string => utimeText(utimeFromMs(ms)) };
