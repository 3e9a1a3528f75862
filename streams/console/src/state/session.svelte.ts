/** Who is logged in, and what their role may do. The API decides; the console only hides what would be refused. */
import { api, Problem, whenUnauthorized } from '../api';
import type { Role, Session } from '../types';
import { stream } from './stream.svelte';

const RANK: Record<Role, number> = { viewer: 1, member: 2, admin: 3, owner: 4 };

class CurrentSession {
  /** undefined while it is not known, null when nobody is logged in. */
  current = $state.raw<Session | null | undefined>(undefined);
  error = $state.raw<Problem | null>(null);

  constructor() {
    whenUnauthorized(() => this.ended());
  }

  async load() {
    this.error = null;
    try {
      this.current = await api.session();
      stream.open();
    } catch (error) {
      if (error instanceof Problem && error.status === 401) this.ended();
      else this.error = error as Problem;
    }
  }

  async logout() {
    await api.logout().catch(() => undefined);
    this.ended();
  }

  ended() {
    stream.close();
    this.current = null;
  }

  may(least: Role): boolean {
    return !!this.current && RANK[this.current.role] >= RANK[least];
  }
}

export const session = new CurrentSession();
