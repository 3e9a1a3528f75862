/** What a timeline shows as one line. */
import type { TimelineEntry } from '../types';

/** From so many on, alerts that join one after another are one line: in a storm there are hundreds. */
const FOLDED = 3;

/** The entries in order; several in one list are one line. */
export function folded(entries: TimelineEntry[]): [TimelineEntry, ...TimelineEntry[]][] {
  const lines: [TimelineEntry, ...TimelineEntry[]][] = [];
  for (let start = 0; start < entries.length; ) {
    let end = start;
    while (entries[end]?.kind === 'joined') end++;
    const taken = end - start >= FOLDED ? end - start : 1;
    const [first, ...more] = entries.slice(start, start + taken);
    if (first) lines.push([first, ...more]);
    start += taken;
  }
  return lines;
}
