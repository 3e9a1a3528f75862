/** Which incidents belong into a list, and in which order, as the API has it. */
import type { Incident, IncidentFilter } from '../types';
import { SEVERITIES } from './severity';

const STATUSES = ['open', 'acknowledged', 'resolved'];

/** Whether an incident belongs into a list; each word of the text begins a word of the incident. */
export function matches(incident: Incident, filter: IncidentFilter, login = ''): boolean {
  const among = (list: string | undefined, value: string) => !list || list.split(',').includes(value);
  if (!among(filter.status, incident.status)) return false;
  if (!among(filter.severity, incident.severity) || !among(filter.service, incident.service)) return false;
  if (filter.mine === 'true' && incident.acknowledged_by !== login) return false;
  if (!filter.q) return true;
  const labels = Object.entries(incident.group ?? {}).flat();
  const texts = [incident.title, incident.service, incident.dedup_key, incident.source, ...labels];
  const words = texts.flatMap((text) => wordsOf(text ?? ''));
  return wordsOf(filter.q).every((word) => words.some((other) => other.startsWith(word)));
}

/** Whether an incident stands before another one, or beside it if only the API can say. */
export function before(incident: Incident, other: Incident, order: string | undefined): boolean {
  if (order === 'priority') {
    const byStatus = STATUSES.indexOf(incident.status) - STATUSES.indexOf(other.status);
    if (byStatus) return byStatus < 0;
    const bySeverity = SEVERITIES.indexOf(incident.severity) - SEVERITIES.indexOf(other.severity);
    if (bySeverity) return bySeverity < 0;
  }
  return incident.opened_at >= other.opened_at;
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
}
