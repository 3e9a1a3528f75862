/** How the kinds of records are grouped for people; the kinds themselves come from the API. */

export const GROUPS: [string, string[]][] = [
  ['Quiet', ['silence', 'maintenance', 'inhibition', 'calendar']],
  ['Alerts', ['rule', 'lookup', 'service', 'heartbeat']],
  ['People', ['route', 'escalation', 'schedule', 'override', 'user', 'destination']],
  ['Other', ['apikey', 'tenant']],
];

/** What a record is about, in one line. */
export function gist(record: Record<string, unknown>): string {
  const lines = ['name', 'title', 'reason', 'match', 'when', 'services', 'type', 'steps', 'layers', 'zone', 'service'].flatMap((field) => {
    const value = record[field];
    if (typeof value === 'string') return value ? [value] : [];
    if (!Array.isArray(value) || !value.length) return [];
    return typeof value[0] === 'string' ? [value.join(', ')] : [`${value.length} ${field}`];
  });
  return lines.slice(0, 3).join(' · ');
}
