/** Conditions of the product's language, as a silence has them. */
import type { Incident } from '../types';

function quote(value: string): string {
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** What all of these incidents have in common: their service, and labels of their group that are equal. */
export function conditionsOf(incidents: Incident[]): string[] {
  const [first, ...others] = incidents;
  if (!first) return [];
  const common = (read: (incident: Incident) => string | undefined) =>
    others.every((incident) => read(incident) === read(first)) ? read(first) : undefined;
  const service = common((incident) => incident.service);
  const lines = service ? [`service=${quote(service)}`] : [];
  for (const name of Object.keys(first.group ?? {})) {
    const value = common((incident) => incident.group?.[name]);
    if (value && name !== 'service') lines.push(`${/^(source|summary|severity|dedup_key|urgency|status|labels\.)/.test(name) ? name : `labels.${name}`}=${quote(value)}`);
  }
  if (lines.length < 2) {
    const title = common((incident) => incident.title);
    if (title) lines.push(`summary=${quote(title)}`);
  }
  return lines;
}
