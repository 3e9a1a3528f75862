import type { Severity } from '../types';

export const SEVERITIES: Severity[] = ['critical', 'error', 'warning', 'info'];

/** The worst severity of which something is open. */
export function worst(open: Partial<Record<Severity, number>>): Severity | undefined {
  return SEVERITIES.find((severity) => (open[severity] ?? 0) > 0);
}
