/** Light, dark, or what the system says. */

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'stormweir.theme';
const ORDER: Theme[] = ['system', 'light', 'dark'];

class CurrentTheme {
  current = $state<Theme>('system');

  constructor() {
    const kept = localStorage.getItem(KEY) as Theme | null;
    this.set(kept && ORDER.includes(kept) ? kept : 'system');
  }

  set(theme: Theme) {
    this.current = theme;
    localStorage.setItem(KEY, theme);
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  next() {
    this.set(ORDER[(ORDER.indexOf(this.current) + 1) % ORDER.length] ?? 'system');
  }
}

export const theme = new CurrentTheme();
