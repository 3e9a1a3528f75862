/** The product's short words as sentences for people. A word that is not here is shown as it is. */

const REASONS: Record<string, string> = {
  flag_off: 'the service does not tell this change',
  not_told: 'it was not told that the incident opened, so its end is no news',
  quiet_hours: 'it has quiet hours',
  severity_not_notified: 'this severity is for nobody',
  no_destination: 'nothing routes the alert',
  nobody_on_call: 'nobody is on call for this step',
  merged: 'the incident went on in another one',
  superseded: 'a newer message took its place',
};
const PREFIXES: Record<string, string> = {
  silence: 'silence',
  maintenance: 'maintenance',
  inhibition: 'inhibition',
  calendar: 'calendar',
  cause: 'waits for its cause',
  storm: 'told with the storm of',
};

/** Why somebody was not told: `silence/new-switch` is "silence new-switch". */
export function reason(word: string | null | undefined): string {
  if (!word) return '';
  const [kind, ...rest] = word.split('/');
  if (rest.length && kind && PREFIXES[kind]) return `${PREFIXES[kind]} ${rest.join('/')}`;
  return REASONS[word] ?? word.replaceAll('_', ' ');
}

const EVENTS: Record<string, string> = {
  triggered: 'The incident opened',
  joined: 'One more alert joined',
  escalated: 'It became more severe',
  acknowledged: 'Acknowledged',
  unacknowledged: 'The acknowledgement was taken back',
  resolved: 'Resolved',
  note: 'Note',
  reopened: 'It is open again',
  merged: 'It went on in another incident',
  members_added: 'Alerts of another incident joined',
  members_moved: 'Alerts moved to another incident',
};

export function event(kind: string): string {
  return EVENTS[kind] ?? sentence(kind);
}

/** `alert_count` is "Alert count". */
export function sentence(word: string): string {
  const text = word.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const COUNT = new Intl.NumberFormat();
export function number(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : COUNT.format(value);
}

/** `count(3, 'alert')` is "3 alerts". */
export function count(value: number, noun: string, plural = `${noun}s`): string {
  return `${number(value)} ${value === 1 ? noun : plural}`;
}
