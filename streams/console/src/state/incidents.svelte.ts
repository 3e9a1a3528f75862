/** The list of incidents: pages read on demand, changes put in place, new ones offered. Rows never move by themselves. */
import { api, Problem } from '../api';
import { before, matches } from '../text/incidents';
import type { Incident, IncidentFilter, IncidentPage } from '../types';
import { session } from './session.svelte';
import type { Delta } from './stream.svelte';

const FIRST_PAGE = 100;
const NEXT_PAGE = 500;
/** Rows that are read again when changes were missed. */
const MOST_REREAD = 2_000;
const RECOUNT_MS = 4_000;
/** New incidents that are counted; of more it is said that there are more. */
const MOST_FRESH = 1_000;

export class IncidentList {
  rows = $state.raw<Incident[]>([]);
  facets = $state.raw<IncidentPage['facets']>({});
  total = $state(0);
  /** Whether there are more than `total`. */
  totalAtLeast = $state(false);
  asOf = $state<string | null>(null);
  loading = $state(true);
  error = $state.raw<Problem | null>(null);
  /** Ids that would be among the rows if the list were read again, and are not: they opened, or moved up. */
  fresh = $state.raw<ReadonlySet<string>>(new Set());
  /** Whether there are more than `fresh`. */
  freshAtLeast = $state(false);
  /** Ids whose rows stay although they match no longer. */
  left = $state.raw<ReadonlySet<string>>(new Set());

  #filter: IncidentFilter = {};
  #next: string | null = null;
  #places = new Map<string, number>();
  #more = false;
  /** Changes that came while a page was read: it may be from before them, so they are taken once more after it. */
  #meanwhile: Delta[] = [];
  #abort: AbortController | null = null;
  #recounting: ReturnType<typeof setTimeout> | undefined;

  /** Read the first page. `quiet` keeps the old rows on the page meanwhile. */
  async load(filter: IncidentFilter, quiet = false) {
    this.#filter = filter;
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.loading = true;
    this.#meanwhile = [];
    if (!quiet) this.error = null;
    try {
      const page = await api.incidents({ ...filter, limit: FIRST_PAGE }, abort.signal);
      this.#places.clear();
      this.rows = [];
      this.fresh = new Set();
      this.freshAtLeast = false;
      this.left = new Set();
      this.error = null;
      this.#add(page);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error as Problem;
    }
    if (this.#abort !== abort) return;
    this.loading = false;
    this.#takeAgain();
  }

  reload() {
    return this.load(this.#filter, true);
  }

  /** Read the next page, if there is one and none is on its way. */
  async more() {
    if (!this.#next || this.#more || this.loading) return;
    this.#more = true;
    this.#meanwhile = [];
    try {
      const signal = this.#abort?.signal;
      const page = await api.incidents({ ...this.#filter, limit: NEXT_PAGE, after: this.#next }, signal);
      if (!signal?.aborted) this.#add(page);
    } catch (error) {
      if (error instanceof Problem) this.error = error;
    } finally {
      this.#more = false;
      this.#takeAgain();
    }
  }

  /** Changes were missed: read again what is shown, and put it in place like any change. */
  async reread() {
    const seen = new Set<string>();
    let after: string | null = null;
    try {
      do {
        const page: IncidentPage = await api.incidents({ ...this.#filter, limit: NEXT_PAGE, after }, this.#abort?.signal);
        for (const incident of page.items) seen.add(incident.id);
        this.take({ as_of: page.as_of, changed: new Map(page.items.map((incident) => [incident.id, incident])), gone: new Set() });
        after = page.next;
      } while (after && seen.size < Math.min(this.rows.length, MOST_REREAD));
      if (!after) this.left = new Set(this.rows.filter((row) => !seen.has(row.id)).map((row) => row.id));
      this.error = null;
    } catch (error) {
      if (error instanceof Problem) this.error = error;
    }
  }

  stop() {
    this.#abort?.abort();
    clearTimeout(this.#recounting);
  }

  find(id: string): Incident | undefined {
    const place = this.#places.get(id);
    return place === undefined ? undefined : this.rows[place];
  }

  /** Put changes in place; an incident that is not among the rows is offered if it belongs before the last of them. */
  take(delta: Delta) {
    if (this.loading || this.#more) this.#meanwhile.push(delta);
    const last = this.#next === null ? undefined : this.rows.at(-1);
    const rows = this.rows.slice();
    const [fresh, left] = [new Set(this.fresh), new Set(this.left)];
    for (const [id, incident] of delta.changed) {
      const place = this.#places.get(id);
      const belongs = matches(incident, this.#filter, session.current?.login);
      if (place === undefined) {
        // What comes after the last row is read when somebody scrolls there.
        if (!belongs || (last && !before(incident, last, this.#filter.order))) fresh.delete(id);
        else if (fresh.size < MOST_FRESH) fresh.add(id);
        else if (!fresh.has(id)) this.freshAtLeast = true;
      } else if (incident.version >= (rows[place]?.version ?? 0)) {
        rows[place] = incident;
        if (belongs) left.delete(id);
        else left.add(id);
      }
    }
    for (const id of delta.gone) {
      fresh.delete(id);
      if (this.#places.has(id)) left.add(id);
    }
    this.rows = rows;
    this.fresh = fresh;
    this.left = left;
    if (delta.as_of) this.asOf = delta.as_of;
    this.#recounting ??= setTimeout(() => void this.#recount(), RECOUNT_MS);
  }

  /** What a command answered, before the stream says it. */
  changed(id: string, change: Partial<Incident>) {
    const incident = this.find(id);
    if (!incident) return;
    this.take({ as_of: '', changed: new Map([[id, { ...incident, ...change }]]), gone: new Set() });
  }

  #takeAgain() {
    const meanwhile = this.#meanwhile;
    this.#meanwhile = [];
    for (const delta of meanwhile) this.take(delta);
  }

  #add(page: IncidentPage) {
    const rows = this.rows.slice();
    const fresh = new Set(this.fresh);
    for (const incident of page.items) {
      fresh.delete(incident.id);
      if (this.#places.has(incident.id)) continue;
      this.#places.set(incident.id, rows.length);
      rows.push(incident);
    }
    this.rows = rows;
    this.fresh = fresh;
    this.#next = page.next ?? null;
    this.facets = page.facets ?? this.facets;
    this.total = page.total ?? rows.length;
    this.totalAtLeast = page.total_at_least ?? false;
    this.asOf = page.as_of ?? this.asOf;
  }

  /** Counts follow the changes a moment later. */
  async #recount() {
    this.#recounting = undefined;
    const abort = this.#abort;
    try {
      const page = await api.incidents({ ...this.#filter, limit: 1 }, abort?.signal);
      if (abort !== this.#abort) return;
      this.facets = page.facets;
      this.total = page.total;
      this.totalAtLeast = page.total_at_least;
    } catch {
      // The next change counts again; what is wrong the stream or the list says.
    }
  }
}
