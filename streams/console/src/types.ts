/** Shapes of the API's answers (/api/v1/openapi.json). Times are ISO 8601 in UTC with milliseconds. */

export type Severity = 'critical' | 'error' | 'warning' | 'info';
export type Status = 'open' | 'acknowledged' | 'resolved';
export type Role = 'viewer' | 'member' | 'admin' | 'owner';
export type Row = Record<string, unknown>;

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface Session {
  account: string;
  login: string;
  name: string;
  tenant: string;
  role: Role;
  expires_at: string;
}

export interface LoginMethods {
  password: boolean;
  oidc: { title: string } | null;
  setup_needed: boolean;
}

export interface Link {
  href: string;
  text?: string;
}

export interface Told {
  destination: string;
  at?: string | null;
  outcome?: string;
  reason?: string | null;
  transition?: string;
}

export interface Incident {
  id: string;
  version: number;
  status: Status;
  severity: Severity;
  urgency: 'high' | 'low';
  service: string;
  title: string;
  dedup_key: string;
  source: string;
  opened_at: string;
  updated_at: string;
  acknowledged_at: string | null;
  acknowledged_by: string | null;
  resolved_at: string | null;
  alert_count: number;
  member_count: number;
  open_alerts?: number | null;
  group?: Record<string, string>;
  parent?: string | null;
  children?: string[] | null;
  links?: (Link | string)[] | null;
  reasons?: string[] | null;
  told?: Told[] | null;
}

export interface IncidentPage extends Page<Incident> {
  total: number;
  as_of: string;
  total_at_least: boolean;
  facets: Partial<Record<'status' | 'severity' | 'service', Record<string, number>>> & { at_least?: boolean };
}

export type IncidentFilter = Partial<Record<'status' | 'severity' | 'service' | 'q' | 'mine' | 'order', string | undefined>>;

export type Action = 'acknowledge' | 'unacknowledge' | 'resolve' | 'note' | 'merge' | 'split';
export interface Command {
  action: Action;
  note?: string;
  into?: string;
  keys?: string[];
}
export interface CommandResult {
  end: 'done' | 'already' | 'not_found' | 'pending';
  version: number | null;
  status: Status | null;
}

export interface TimelineEntry {
  at: string;
  kind: string;
  /** All of it in a sentence. */
  text: string;
  actor: string | null;
  note: string | null;
  destination: string | null;
  outcome: string | null;
  reason: string | null;
}

export interface Alert {
  event_id: string;
  received_at: string;
  service: string;
  severity: Severity;
  action: string;
  outcome: string;
  dedup_key: string;
  summary: string;
  source?: string;
  provider?: string;
  labels?: Record<string, string>;
  links?: (Link | string)[];
  incident_id?: string | null;
}

export interface Change {
  at: string;
  summary: string;
  source?: string;
  seconds_before?: number;
  links?: (Link | string)[];
}

export interface Similar {
  id: string;
  status: Status;
  title: string;
  opened_at: string;
  why: string;
  note: string | null;
}

export interface Sentence {
  at: string;
  text: string;
}

export interface Minute {
  at: string;
  alerts: number;
}

export interface Delivery {
  incident_id: string | null;
  notification_id?: string;
  destination: string;
  channel: string;
  transition: string;
  attempt: number;
  queued_at: string;
  finished_at: string;
  outcome: string;
  http_status: number | null;
  error: string;
  means?: string | null;
}

/** What was put back, or sent again. */
export interface PutBack {
  count: number;
  stayed: Record<string, number>;
}

export interface DeadLetter {
  id: string;
  at: string;
  stage: string;
  reason: string;
  error: string;
  replayed_at: string | null;
  /** The topic that it can be put back on; null if it `stays`, for that reason. */
  replay: string | null;
  stays: string;
}

export interface Rejection {
  id: string;
  at: string;
  integration: string;
  provider: string;
  service: string;
  field: string;
  error: string;
  size: number;
  body: string;
}
export interface Taken {
  id: string;
  result: 'accepted' | 'ignored' | 'refused';
  reason: string;
}

export interface Account {
  id: string;
  login: string;
  name: string;
  role: Role;
  enabled: boolean;
  created_at: string;
  last_seen_at: string | null;
  invited_until: string | null;
  invitation_url?: string;
}

export interface Token {
  /** The schedule whose calendar is all that it reads, empty for a token of the API. */
  feed: string;
  id: string;
  name: string;
  role: Role;
  prefix: string;
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
  token?: string;
}

export interface OpenSession {
  id: string;
  login: string;
  created_at: string;
  last_seen_at: string;
  address: string;
  agent: string;
  current: boolean;
}

export interface AuditEntry {
  at: string;
  actor: string;
  action: string;
  kind: string;
  id: string;
  outcome: string;
  before?: unknown;
  after?: unknown;
  address?: string;
}

export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  format?: string;
  enum?: (string | number | null)[];
  const?: unknown;
  default?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  additionalProperties?: boolean | Schema;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
  $ref?: string;
  $defs?: Record<string, Schema>;
}

export interface Kind {
  kind: string;
  title: string;
  description: string;
  json_schema: Schema;
  secret_fields: string[];
  /** The least role that may write it. */
  role: Role;
  count: number;
}

export interface StoredRecord {
  id: string;
  version: string;
  source: 'topic' | 'environment';
  record: Row;
}

export interface Finding {
  path: string;
  message: string;
}
/** What would change, or did. */
export interface Applied {
  diff: string[];
  warnings: (Finding | string)[];
}

export interface Provider {
  slug: string;
  title: string;
  docs_url: string;
  steps: string[];
  test_request: string;
  headers: string[];
  sends_again: string;
}
export interface Channel {
  slug: string;
  title: string;
  json_schema: Schema;
  secret_fields: string[];
  steps: string[];
}

export interface Integration {
  id: string;
  key: string;
  name: string;
  type: string;
  service: string;
  enabled: boolean;
  status: 'active' | 'inactive' | 'error';
  reason: string;
  last_alert_at: string | null;
  alerts_24h: number;
  signed: boolean;
  url: string;
  headers: string[];
  steps: string[];
  test_request: string;
}
/** What is shown once. */
export interface IntegrationKey extends Integration {
  integration_key: string;
  webhook_url: string;
  signature_secret: string | null;
}

export interface Destination {
  id: string;
  type: string;
  title: string;
  enabled: boolean;
  status: 'active' | 'inactive' | 'error';
  reason: string;
  means: string;
  do: string;
  waiting: number;
  waiting_since: string | null;
  last_used_at: string | null;
  rules: string[];
  alert_count: number;
}
export interface TestResult {
  ok: boolean;
  steps?: string[];
  problems?: string[];
  incident_id?: string;
  error?: string | null;
  means?: string | null;
  do?: string | null;
  latency_ms?: number | null;
}

export interface View {
  id: string;
  name: string;
  query: string;
}

export interface Question {
  name: string;
  title: string;
  parameters: string[];
}
export interface Answer {
  columns: string[];
  rows: unknown[][];
}

export interface Insights {
  alerts: number;
  incidents: number;
  pages: number;
  noise_ratio: number | null;
  hours: { hour: string; alerts: number; incidents: number; pages: number }[];
  noisiest: { dedup_key: string; service: string; summary: string; count: number }[];
  response: { service: string; incidents: number; mtta_s: number | null; mttr_s: number | null }[];
  pages_by_destination: { destination: string; pages: number; at_night: number }[];
}

export interface SilencePreview {
  sentence: string;
  total: number;
  hides_now: Pick<Incident, 'id' | 'severity' | 'title'>[];
  warnings: Finding[];
}

export interface RouteTest {
  lines: string[];
  steps: { after_s: number; transition: string; destination: string; reason: string }[];
  others: string[];
}

export interface Replay {
  id: string;
  state: 'running' | 'done' | 'failed';
  progress: number;
  started_at: string;
  from: string;
  to: string;
  error: string;
  report: Row | null;
}

export interface Person {
  id: string;
  name: string;
}
export interface OnCall {
  schedule: string;
  name: string;
  zone: string;
  users: Person[];
  until: string | null;
  next: Shift | null;
}
export interface Shift {
  user: Person | null;
  starts_at: string;
  ends_at: string;
}

export interface Heartbeat {
  id: string;
  service: string;
  every_s: number;
  state: 'ok' | 'missing' | 'disabled';
  missing_since: string | null;
}

export interface ServiceNode {
  id: string;
  title: string;
  depends_on: string[];
  open: Partial<Record<Severity, number>>;
}

export interface ProcessStatus {
  version: string;
  configuration: number;
  as_of: string | null;
  lag: number | null;
  kafka: boolean;
  clickhouse: boolean;
}
