/** Times and durations for people. */

const DATE_TIME = new Intl.DateTimeFormat(undefined, {
  year: 'numeric', month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit',
  hourCycle: 'h23',
});
const SHORT = new Intl.DateTimeFormat(undefined, {
  month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
});
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
});
const WEEKDAY = new Intl.DateTimeFormat(undefined, {
  weekday: 'short', day: '2-digit', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
});

const DAY = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const HOUR = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

type Moment = string | number | null | undefined;
const NOTHING = '–';

const shown = (format: Intl.DateTimeFormat) => (at: Moment) => {
  const time = at ? new Date(at) : null;
  return time && !Number.isNaN(time.getTime()) ? format.format(time) : NOTHING;
};

export const dateTime = shown(DATE_TIME);
export const shortTime = shown(SHORT);
export const clockTime = shown(CLOCK);
export const weekdayTime = shown(WEEKDAY);
export const dayOf = shown(DAY);
export const hourOf = shown(HOUR);

/** Seconds as people say them: `45 s`, `12 min`, `3 h 5 min`, `2 d`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NOTHING;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 7 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** How long ago, against `now` in milliseconds. */
export function ago(at: Moment, now: number): string {
  if (!at) return 'never';
  const seconds = (now - new Date(at).getTime()) / 1000;
  if (Number.isNaN(seconds)) return NOTHING;
  if (seconds < -1) return `in ${coarse(-seconds)}`;
  return seconds < 5 ? 'now' : `${coarse(seconds)} ago`;
}

/** One unit only: `3 h`. */
export function coarse(seconds: number): string {
  return duration(seconds).split(' ').slice(0, 2).join(' ');
}

/** A time as a `datetime-local` field holds it, in the browser's zone, and back to ISO. */
export function toField(at: Date): string {
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
export function fromField(text: string): string {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? '' : at.toISOString();
}
