/** Keyboard shortcuts: the page that is shown binds them, the help lists them. */

import { untrack } from 'svelte';

export interface Binding {
  key: string;
  label: string;
  act: () => void;
}

class Keys {
  bindings = $state.raw<Binding[]>([]);

  /** Bind keys while a component lives; what was bound before stays unless the key is the same. */
  bind(list: Binding[]) {
    $effect(() => {
      this.bindings = [...list, ...untrack(() => this.bindings)];
      return () => (this.bindings = this.bindings.filter((binding) => !list.includes(binding)));
    });
  }

  /** Run what the key is bound to, unless somebody types or a dialog is open. */
  handle(event: KeyboardEvent) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    if (target.closest('input:not([type=checkbox]), textarea, select, [contenteditable]')) return;
    if (document.querySelector('dialog[open]')) return;
    const found = this.bindings.find((binding) => binding.key === event.key);
    if (!found) return;
    event.preventDefault();
    found.act();
  }
}

export const keys = new Keys();
