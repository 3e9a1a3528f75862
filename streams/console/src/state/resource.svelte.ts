/** Something that is read from the API: its newest value, whether it is being read, and the last error. */
import { Problem } from '../api';

export class Resource<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state.raw<Problem | null>(null);
  loading = $state(false);
  /** When `data` was read, milliseconds. */
  readAt = $state(0);
  #round = 0;

  constructor(readonly read: () => Promise<T>) {}

  /** Read it again. Of overlapping reads the last one counts; an error keeps the value of before. */
  async load(): Promise<void> {
    const round = ++this.#round;
    this.loading = true;
    try {
      const data = await this.read();
      if (round !== this.#round) return;
      this.data = data;
      this.error = null;
      this.readAt = Date.now();
    } catch (error) {
      if (round !== this.#round) return;
      this.error = error instanceof Problem ? error : new Problem(0, 'Error', String(error));
    } finally {
      if (round === this.#round) this.loading = false;
    }
  }
}

/** A resource that is read at once, and again whenever something reactive that `read` uses changes. */
export function resource<T>(read: () => Promise<T>): Resource<T> {
  const made = new Resource(read);
  $effect(() => {
    void made.load();
  });
  return made;
}
