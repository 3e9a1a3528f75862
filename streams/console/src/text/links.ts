/** Links of alerts are hostile: only http and https are followed. */
import type { Link } from '../types';

/** The address if it is http or https, else null. */
export function safeHref(text: unknown): string | null {
  if (typeof text !== 'string') return null;
  try {
    const url = new URL(text);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
  } catch {
    return null;
  }
}

/** Links in one form; what is no link is left out. */
export function safeLinks(links: (Link | string)[] | null | undefined): { href: string; text: string }[] {
  return (links ?? []).flatMap((link) => {
    const [address, text] = typeof link === 'string' ? [link, ''] : [link?.href, link?.text ?? ''];
    const href = safeHref(address);
    return href ? [{ href, text: String(text || new URL(href).host) }] : [];
  });
}
