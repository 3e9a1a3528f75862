/** The page and its query live in the address' hash: `#/incidents?status=open`. */

interface Route {
  /** Parts of the path, decoded: `/incidents/0198` is ['incidents', '0198']. */
  path: string[];
  query: Record<string, string>;
}

function read(): Route {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
  const parts = path.split('/').filter(Boolean).map(decode);
  return {
    path: parts.length ? parts : ['incidents'],
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

class Router {
  current = $state.raw<Route>(read());

  constructor() {
    addEventListener('hashchange', () => (this.current = read()));
  }

  get page(): string {
    return this.current.path[0] ?? '';
  }

  part(index: number): string | undefined {
    return this.current.path[index];
  }

  go(path: string[], query: Record<string, string | undefined> = {}) {
    location.hash = href(path, query);
  }

  /** Change the query without a new entry in the browser's history. */
  replaceQuery(query: Record<string, string | undefined>) {
    history.replaceState(null, '', href(this.current.path, query));
    this.current = read();
  }
}

/** The address of a page: `href(['incidents', id])`. */
export function href(path: string[], query: Record<string, string | undefined> = {}): string {
  const present = Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const text = new URLSearchParams(present).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

export const router = new Router();
