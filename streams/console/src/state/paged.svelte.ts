/** A list of the API that is read page by page. */
import type { Page } from '../types';
import { Resource } from './resource.svelte';

export class Paged<T> extends Resource<Page<T>> {
  constructor(private readonly page: (after?: string) => Promise<Page<T>>) {
    super(() => page());
  }

  /** Read the page after this mark and add it to what is there. */
  more = async (after: string) => {
    try {
      const next = await this.page(after);
      this.data = { ...next, items: [...(this.data?.items ?? []), ...next.items] };
    } catch (error) {
      this.error = error as never;
    }
  };
}

/** Read at once, and again when something reactive that `page` uses changes. */
export function paged<T>(page: (after?: string) => Promise<Page<T>>): Paged<T> {
  const made = new Paged(page);
  $effect(() => {
    void made.load();
  });
  return made;
}
