/** The one event stream: changes of incidents, given to listeners at most once per frame. */
import { address } from '../api';
import type { Incident } from '../types';

export interface Delta {
  as_of: string;
  /** The newest state of each incident that changed, by id. */
  changed: Map<string, Incident>;
  gone: Set<string>;
}

type Listener = (delta: Delta) => void;

/** Milliseconds without a word from the API after which what is shown counts as old. */
const SILENCE_MS = 40_000;
const RETRY_MS = 5_000;
const RESET_MS = 1_000;

class Stream {
  state = $state<'connecting' | 'live' | 'lost'>('connecting');
  asOf = $state<string | null>(null);

  #source: EventSource | null = null;
  #listeners = new Set<Listener>();
  #resets = new Set<() => void>();
  #waiting: Delta | null = null;
  #heard = 0;
  #watch: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #resetting: ReturnType<typeof setTimeout> | undefined;

  open() {
    if (this.#source) return;
    const source = new EventSource(address('/stream'));
    this.#source = source;
    source.onopen = () => this.#hear();
    source.addEventListener('ping', (event) => {
      this.#hear();
      this.asOf = JSON.parse((event as MessageEvent<string>).data).as_of ?? this.asOf;
    });
    source.addEventListener('reset', () => {
      this.#hear();
      this.#reset();
    });
    source.addEventListener('incidents', (event) => {
      this.#hear();
      this.#take(JSON.parse((event as MessageEvent<string>).data));
    });
    source.onerror = () => {
      this.state = 'lost';
      // The browser itself tries again, unless the answer was an error.
      if (source.readyState === EventSource.CLOSED) this.#reopen();
    };
    this.#watch = setInterval(() => {
      if (Date.now() - this.#heard > SILENCE_MS && this.state === 'live') {
        this.state = 'lost';
        this.#reopen();
      }
    }, 5_000);
  }

  close() {
    this.#source?.close();
    this.#source = null;
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
    clearTimeout(this.#resetting);
    this.#resetting = undefined;
    this.state = 'connecting';
  }

  /** Both return what ends the subscription. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** `act` runs when changes were missed, so everything must be read again. */
  onReset(act: () => void): () => void {
    this.#resets.add(act);
    return () => this.#resets.delete(act);
  }

  #hear() {
    this.#heard = Date.now();
    this.state = 'live';
  }

  #reopen() {
    this.close();
    this.state = 'lost';
    this.#retry = setTimeout(() => {
      this.open();
      this.#reset();
    }, RETRY_MS);
  }

  /** In a storm resets may follow each other: everything is read again once for those of a while. */
  #reset() {
    this.#resetting ??= setTimeout(() => {
      this.#resetting = undefined;
      for (const act of this.#resets) act();
    }, RESET_MS);
  }

  #take(data: { as_of?: string; changed?: Incident[]; gone?: string[] }) {
    if (!this.#waiting) {
      this.#waiting = { as_of: '', changed: new Map(), gone: new Set() };
      requestAnimationFrame(() => this.#give());
    }
    const waiting = this.#waiting;
    waiting.as_of = data.as_of ?? waiting.as_of;
    for (const incident of data.changed ?? []) {
      waiting.changed.set(incident.id, incident);
      waiting.gone.delete(incident.id);
    }
    for (const id of data.gone ?? []) {
      waiting.gone.add(id);
      waiting.changed.delete(id);
    }
  }

  #give() {
    const delta = this.#waiting;
    this.#waiting = null;
    if (!delta) return;
    this.asOf = delta.as_of || this.asOf;
    for (const listener of this.#listeners) listener(delta);
  }
}

export const stream = new Stream();
