/** What a form needs to know of a JSON schema as pydantic writes it. */
import type { Channel, Row, Schema } from '../types';

/** The schema with its reference followed, and whether null is allowed instead. */
export function resolved(schema: Schema, root: Schema): { schema: Schema; optional: boolean } {
  if (schema.$ref) {
    const found = schema.$ref === '#' ? root : root.$defs?.[schema.$ref.split('/').pop() ?? ''];
    return { schema: { ...found, ...(schema.default !== undefined && { default: schema.default }), ...(schema.description && { description: schema.description }) }, optional: false };
  }
  if (!schema.anyOf) return { schema, optional: false };
  const real = schema.anyOf.filter((one) => one.type !== 'null');
  const optional = real.length < schema.anyOf.length;
  const [only] = real;
  if (real.length === 1 && only) return { schema: { ...schema, ...resolved(only, root).schema, title: schema.title ?? only.title ?? '' }, optional };
  return { schema: { ...schema, type: 'mixed' }, optional };
}

/** A value that a new entry of this schema begins with. */
export function initial(schema: Schema, root: Schema): unknown {
  const { schema: own, optional } = resolved(schema, root);
  if (own.default !== undefined) return own.default;
  if (optional) return null;
  if (own.enum) return own.enum[0];
  switch (own.type) {
    case 'object': return Object.fromEntries((own.required ?? []).map((name) => [name, initial(own.properties?.[name] ?? {}, root)]));
    case 'array': return [];
    case 'boolean': return false;
    case 'integer': case 'number': return own.minimum ?? 0;
    default: return '';
  }
}

/** What a new record begins with. */
export function fresh(kind: string, query: Record<string, string>, author: string): Row {
  const now = new Date();
  const period = { starts_at: now.toISOString(), ends_at: new Date(now.getTime() + 7_200_000).toISOString(), author, reason: '' };
  const id = `${kind}-${now.getTime().toString(36)}`;
  switch (kind) {
    case 'silence': return { id, ...period, match: [] };
    case 'maintenance': return { id, ...period, services: [] };
    case 'destination': return { id: '', type: query.type ?? 'webhook' };
    default: return { id: '' };
  }
}

/** The schema of a record: of a destination, that of its channel. */
export function schemaOf(schema: Schema, channels: Channel[], record: Row): Schema {
  return channels.find((channel) => channel.slug === record.type)?.json_schema ?? schema;
}
