/** Short messages at the edge of the page, with an action such as undo. */

export interface Toast {
  id: number;
  text: string;
  kind: 'done' | 'error';
  action?: { label: string; act: () => void };
}

const SHOWN_MS = 8_000;

class Toasts {
  list = $state<Toast[]>([]);
  #next = 1;

  add(text: string, options: { kind?: Toast['kind']; action?: Toast['action'] } = {}) {
    const toast: Toast = { id: this.#next++, text, kind: options.kind ?? 'done' };
    if (options.action) toast.action = options.action;
    this.list = [...this.list.slice(-3), toast];
    setTimeout(() => this.remove(toast.id), SHOWN_MS);
  }

  error(error: unknown) {
    this.add(error instanceof Error ? error.message : String(error), { kind: 'error' });
  }

  remove(id: number) {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
