/** The one client of the API: every request of the console is here. Errors are Problems; 401 ends the session. */
import type * as T from './types';

const BASE = 'api/v1';

/** An error of the API (RFC 9457). Status 0 says that no answer came. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail = '',
    readonly errors: T.Finding[] = [],
  ) {
    super(detail || title);
  }
}

type Query = Record<string, string | number | boolean | undefined | null>;
interface Options {
  query?: Query;
  body?: unknown;
  text?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

let onUnauthorized = () => {};
/** What is done when the API says that nobody is logged in. */
export function whenUnauthorized(act: () => void) {
  onUnauthorized = act;
}

/** The address of a path of the API, for links and the event stream. */
export function address(path: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return `${BASE}${path}${text ? `?${text}` : ''}`;
}

async function send(method: string, path: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
  if (options.body !== undefined) headers['content-type'] = 'application/json';
  if (options.text !== undefined) headers['content-type'] = 'application/yaml';
  let response: Response;
  try {
    response = await fetch(address(path, options.query), {
      method,
      headers,
      body: options.text ?? (options.body === undefined ? null : JSON.stringify(options.body)),
      signal: options.signal ?? null,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Problem(0, 'No answer', 'Stormweir does not answer. Check the network.');
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== '/session') onUnauthorized();
  const detail = problem.detail ?? (response.status === 429 ? 'Too many requests. Wait a moment.' : '');
  throw new Problem(response.status, problem.title ?? response.statusText, detail, problem.errors ?? []);
}

async function call<R>(method: string, path: string, options: Options = {}): Promise<R> {
  const response = await send(method, path, options);
  if (response.status === 204) return undefined as R;
  return (await response.json()) as R;
}

const get = <R>(path: string, query?: Query, signal?: AbortSignal) =>
  call<R>('GET', path, { ...(query && { query }), ...(signal && { signal }) });
const post = <R>(path: string, body?: unknown, query?: Query) =>
  call<R>('POST', path, { ...(body !== undefined && { body }), ...(query && { query }) });
const id = encodeURIComponent;

export const api = {
  session: () => get<T.Session>('/session'),
  login: (login: string, password: string) => post<void>('/session', { login, password }),
  changePassword: (current: string, password: string) =>
    call<void>('PUT', '/session/password', { body: { current, password } }),
  logout: () => call<void>('DELETE', '/session'),
  loginMethods: () => get<T.LoginMethods>('/login-methods'),
  setup: (body: { token: string; login: string; password: string; name: string }) => post<void>('/setup', body),
  sessions: () => get<T.Page<T.OpenSession>>('/sessions'),
  endSession: (which: string) => call<void>('DELETE', `/sessions/${id(which)}`),

  accounts: () => get<T.Page<T.Account>>('/accounts'),
  addAccount: (body: Partial<T.Account>) => post<T.Account>('/accounts', body),
  changeAccount: (which: string, body: Partial<T.Account>) =>
    call<T.Account>('PATCH', `/accounts/${id(which)}`, { body }),
  inviteAccount: (which: string) => post<T.Account>(`/accounts/${id(which)}/invitation`),
  deleteAccount: (which: string) => call<void>('DELETE', `/accounts/${id(which)}`),
  tokens: () => get<T.Page<T.Token>>('/tokens'),
  addToken: (body: { name: string; role: T.Role; expires_at: string | null; feed?: string }) => post<T.Token>('/tokens', body),
  deleteToken: (which: string) => call<void>('DELETE', `/tokens/${id(which)}`),
  audit: (query: Query) => get<T.Page<T.AuditEntry>>('/audit', query),

  kinds: async () => (await get<T.Page<T.Kind>>('/kinds')).items,
  records: (kind: string, query: Query = {}) => get<T.Page<T.StoredRecord>>(`/records/${id(kind)}`, query),
  record: (kind: string, which: string) => get<T.StoredRecord>(`/records/${id(kind)}/${id(which)}`),
  /** `version` null creates the record and fails if there is one. */
  saveRecord: (kind: string, which: string, record: T.Row, version: string | null) =>
    call<T.Applied>('PUT', `/records/${id(kind)}/${id(which)}`, { body: record, headers: condition(version) }),
  tryRecord: (kind: string, which: string, record: T.Row, version: string | null) =>
    call<T.Applied>('PUT', `/records/${id(kind)}/${id(which)}`, {
      body: record,
      query: { dry_run: true },
      headers: condition(version),
    }),
  deleteRecord: (kind: string, which: string) =>
    call<void>('DELETE', `/records/${id(kind)}/${id(which)}`, { query: { confirm: true } }),
  apply: (text: string, dryRun: boolean) => call<T.Applied>('POST', '/apply', { text, query: { dry_run: dryRun } }),

  providers: async () => (await get<T.Page<T.Provider>>('/providers')).items,
  channels: async () => (await get<T.Page<T.Channel>>('/channels')).items,
  integrations: () => get<T.Page<T.Integration>>('/integrations'),
  integration: (which: string) => get<T.Integration>(`/integrations/${id(which)}`),
  addIntegration: (body: T.Row) => post<T.IntegrationKey>('/integrations', body),
  changeIntegration: (which: string, body: T.Row) =>
    call<T.Integration>('PATCH', `/integrations/${id(which)}`, { body }),
  deleteIntegration: (which: string) =>
    call<void>('DELETE', `/integrations/${id(which)}`, { query: { confirm: true } }),
  rotateIntegration: (which: string) => post<T.IntegrationKey>(`/integrations/${id(which)}/rotate`),
  testIntegration: (which: string) => post<T.TestResult>(`/integrations/${id(which)}/test`),
  destinations: () => get<T.Page<T.Destination>>('/destinations'),
  testDestination: (which: string) => post<T.TestResult>(`/destinations/${id(which)}/test`),

  incidents: (query: Query, signal?: AbortSignal) => get<T.IncidentPage>('/incidents', query, signal),
  incident: (which: string) => get<T.Incident>(`/incidents/${id(which)}`),
  part: async <R>(which: string, part: string) =>
    (await get<T.Page<R>>(`/incidents/${id(which)}/${part}`, { limit: part === 'alerts' ? 500 : undefined })).items,
  command: (which: string, body: T.Command) => post<T.CommandResult>(`/incidents/${id(which)}/commands`, body),
  commands: (ids: string[], action: T.Action, note = '') =>
    post<T.Page<T.CommandResult & { id: string }>>('/incidents/commands', { ids, action, note }),

  views: () => get<T.Page<T.View>>('/views'),
  addView: (name: string, query: string) => post<T.View>('/views', { name, query }),
  deleteView: (which: string) => call<void>('DELETE', `/views/${id(which)}`),

  alerts: (query: Query) => get<T.Page<T.Alert>>('/alerts', query),
  questions: async () => (await get<T.Page<T.Question>>('/queries')).items,
  ask: (name: string, query: Query) => get<T.Answer>(`/queries/${id(name)}`, query),
  insights: (from: string, to: string) => get<T.Insights>('/insights', { from, to }),

  silencePreview: (match: unknown) => post<T.SilencePreview>('/silences/preview', { match }),
  routeTest: (body: { alert: T.Row; at?: string; configuration?: string }) => post<T.RouteTest>('/route-test', body),
  replays: () => get<T.Page<T.Replay>>('/replays'),
  replay: (which: string) => get<T.Replay>(`/replays/${id(which)}`),
  addReplay: (body: { from: string; to: string; configuration: string }) => post<T.Replay>('/replays', body),
  deleteReplay: (which: string) => call<void>('DELETE', `/replays/${id(which)}`),

  oncall: async () => (await get<T.Page<T.OnCall>>('/oncall')).items,
  shifts: async (schedule: string, from: string, to: string) =>
    (await get<T.Page<T.Shift>>(`/schedules/${id(schedule)}/shifts`, { from, to })).items,
  heartbeats: async () => (await get<T.Page<T.Heartbeat>>('/heartbeats')).items,
  topology: async () => (await get<T.Page<T.ServiceNode>>('/topology')).items,

  deliveries: async (query: Query) => (await get<T.Page<T.Delivery>>('/deliveries', query)).items,
  redeliver: (destination: string, since: string) =>
    post<T.PutBack>('/deliveries/redeliver', { destination, since, failed_only: true }),
  deadLetters: async (query: Query) => (await get<T.Page<T.DeadLetter>>('/deadletters', query)).items,
  replayDeadLetters: (ids: string[]) => post<T.PutBack>('/deadletters/replay', { ids }),
  rejections: async () => (await get<T.Page<T.Rejection>>('/rejections')).items,
  replayRejections: async (ids: string[]) => (await post<T.Page<T.Taken>>('/rejections/replay', { ids })).items,
  status: () => get<T.ProcessStatus>('/status'),
};

function condition(version: string | null): Record<string, string> {
  return version === null ? { 'If-None-Match': '*' } : { 'If-Match': `"${version}"` };
}
