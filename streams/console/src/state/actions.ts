/** What people do with incidents: one command each, said in a toast, acknowledge with a way back. */
import { api } from '../api';
import { count } from '../text/words';
import type { Action, CommandResult, Incident } from '../types';
import { toasts } from './toasts.svelte';

/** Incidents of one request. */
const MOST = 500;

const DONE: Partial<Record<Action, string>> = {
  acknowledge: 'You acknowledged',
  unacknowledge: 'You took back the acknowledgement of',
  resolve: 'You resolved',
  note: 'You noted something on',
  merge: 'You merged',
  split: 'You split',
};

/** What to show of an incident after a command, before the stream has it. */
export type Shown = (id: string, change: Partial<Incident>) => void;

/** Send a command for some incidents. Answers whether the API took it. */
export async function act(incidents: Incident[], action: Action, shown: Shown, note = ''): Promise<boolean> {
  const [first] = incidents;
  if (!first) return false;
  try {
    const results =
      incidents.length === 1
        ? [{ id: first.id, ...(await api.command(first.id, { action, ...(note && { note }) })) }]
        : await bulk(incidents.map((incident) => incident.id), action, note);
    for (const result of results) apply(result, shown);
    tell(incidents, action, results, shown);
    return true;
  } catch (error) {
    toasts.error(error);
    return false;
  }
}

async function bulk(ids: string[], action: Action, note: string) {
  const results: (CommandResult & { id: string })[] = [];
  for (let at = 0; at < ids.length; at += MOST) results.push(...(await api.commands(ids.slice(at, at + MOST), action, note)).items);
  return results;
}

function apply(result: CommandResult & { id: string }, shown: Shown) {
  if (result.status && result.version) shown(result.id, { status: result.status, version: result.version });
}

function tell(incidents: Incident[], action: Action, results: CommandResult[], shown: Shown) {
  const [first] = incidents;
  const what = incidents.length === 1 && first ? `“${shorten(first.title)}”` : count(incidents.length, 'incident');
  const ends = new Set(results.map((result) => result.end));
  if (ends.size === 1 && ends.has('not_found')) {
    toasts.add(`${what}: nothing changed, it is not open.`, { kind: 'error' });
  } else if (ends.size === 1 && ends.has('already')) {
    toasts.add(`${what}: somebody did this before you.`);
  } else {
    const later = ends.has('pending') ? ' It takes effect soon.' : '';
    const back = action === 'acknowledge' && { label: 'Undo', act: () => void act(incidents, 'unacknowledge', shown) };
    toasts.add(`${DONE[action] ?? action} ${what}.${later}`, back ? { action: back } : {});
  }
}

function shorten(title: string): string {
  return title.length > 60 ? `${title.slice(0, 57)}…` : title;
}
