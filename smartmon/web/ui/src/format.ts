/** Numbers, durations and moments as people read them. Unknown is always an en dash. */
import { inert } from "./text/inert";

export const UNKNOWN = "\u2013";
const NBSP = "\u00a0";

export type Maybe = number | null | undefined;

export const known = (value: Maybe): value is number => typeof value === "number" && Number.isFinite(value);

/** A measured value: four significant digits, small and large ones as powers. */
export function value(number: Maybe, digits = 4): string {
  if (!known(number)) return typeof number === "number" ? notFinite(number) : UNKNOWN;
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size < 1e-3 || size >= 1e7) return number.toExponential(Math.max(0, digits - 1)).replace("e+", "e");
  const decimals = Math.min(20, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  if (size < 10_000) return number.toFixed(decimals);
  return number.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

function notFinite(number: number): string {
  return Number.isNaN(number) ? "NaN" : number > 0 ? "\u221e" : "\u2212\u221e";
}

/** A whole number with thin groups: 17,500. */
export const grouped = (number: Maybe): string => (known(number) ? Math.round(number).toLocaleString("en-US") : UNKNOWN);

export const step = grouped;

/** A count that is only estimated, to two digits: 19,873 is about 20,000. */
export function approximate(number: Maybe): string {
  if (!known(number) || number === 0) return grouped(number);
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.abs(number))) - 1);
  return grouped(Math.round(number / unit) * unit);
}

/** What is short of 100 is not told as 100. */
function hundredths(number: number, digits: number): string {
  const text = number.toFixed(digits);
  return number < 100 && Number(text) >= 100 ? (100 - 10 ** -digits).toFixed(digits) : text;
}

export const percent = (share: Maybe, digits = 1): string =>
  known(share) ? `${hundredths(share * 100, digits)}${NBSP}%` : UNKNOWN;

/** A value that is in percent already. */
export const percentage = (number: Maybe, digits = 1): string =>
  known(number) ? `${hundredths(number, digits)}${NBSP}%` : UNKNOWN;

/** Seconds as the two units that matter: 4 h 12 min, 45 s, 2 d 3 h. */
export function duration(seconds: Maybe): string {
  if (!known(seconds)) return UNKNOWN;
  const total = Math.max(0, seconds);
  if (total === 0) return `0${NBSP}s`;
  if (total < 1) return `${Math.round(total * 1000)}${NBSP}ms`;
  if (total < 59.5) return `${total < 9.95 ? trim(total.toFixed(1)) : Math.round(total)}${NBSP}s`;
  const minutes = Math.round(total / 60);
  if (total < 600 && Math.round(total) % 60) return `${Math.floor(total / 60)}${NBSP}min ${Math.round(total) % 60}${NBSP}s`;
  if (minutes < 60) return `${minutes}${NBSP}min`;
  if (minutes < 60 * 24) {
    return minutes % 60 ? `${Math.floor(minutes / 60)}${NBSP}h ${minutes % 60}${NBSP}min` : `${minutes / 60}${NBSP}h`;
  }
  const hours = Math.round(total / 3600);
  return hours % 24 ? `${Math.floor(hours / 24)}${NBSP}d ${hours % 24}${NBSP}h` : `${hours / 24}${NBSP}d`;
}

const two = (number: number): string => String(number).padStart(2, "0");

/** A duration beside others: `more` is how much finer than `duration` it is told, by the minute or by the second. */
export function stopwatch(seconds: Maybe, more = 0): string {
  if (!more || !known(seconds)) return duration(seconds);
  const total = Math.max(0, Math.round(more > 1 ? seconds : seconds / 60) * (more > 1 ? 1 : 60));
  const days = Math.floor(total / 86_400);
  const clock = `${Math.floor(total / 3600) % 24}:${two(Math.floor(total / 60) % 60)}${more > 1 ? `:${two(total % 60)}` : ""}`;
  return days ? `${days}${NBSP}d ${clock}` : clock;
}

/** Says a value to as many digits more than usual. */
export type Format = (value: Maybe, more?: number) => string;

/** Labels of ticks, with as many digits as it takes that no two are the same. */
export function ticks(splits: readonly (number | null)[], format: Format): string[] {
  for (let more = 0; ; more += 1) {
    const labels = splits.map((split) => (split === null ? "" : format(split, more)));
    const said = labels.filter(Boolean);
    if (new Set(said).size === said.length || more === 12) return labels;
  }
}

const trim = (text: string): string => text.replace(/\.0$/, "");

/** How long ago: one unit is enough. */
export function age(seconds: Maybe): string {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.round(seconds)}${NBSP}s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}${NBSP}min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)}${NBSP}h ago`;
  return `${Math.round(seconds / 86_400)}${NBSP}d ago`;
}

/** ISO 8601 or seconds since 1970 -> seconds since 1970. */
export function seconds(at: string | number | null | undefined): number | null {
  if (typeof at === "number") return at;
  if (!at) return null;
  const parsed = Date.parse(at);
  return Number.isNaN(parsed) ? null : parsed / 1000;
}

const sameDay = (a: Date, b: Date): boolean => a.toDateString() === b.toDateString();

const CLOCK: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false };

/** A moment: the clock today, the day before it else. */
export function moment(at: string | number | null | undefined, now = Date.now()): string {
  const when = seconds(at);
  if (when === null) return UNKNOWN;
  const date = new Date(when * 1000);
  const clock = date.toLocaleTimeString("en-GB", CLOCK);
  if (sameDay(date, new Date(now))) return clock;
  const tomorrow = new Date(now);
  // By the calendar: where clocks change, a day has 23 or 25 hours.
  tomorrow.setDate(tomorrow.getDate() + 1);
  if (sameDay(date, tomorrow)) return `${clock} tomorrow`;
  const near = Math.abs(now - date.getTime()) < 6 * 86_400_000;
  const day = date.toLocaleDateString("en-GB", near ? { weekday: "short" } : { day: "numeric", month: "short", year: "numeric" });
  return `${day} ${clock}`;
}

/** A moment to the second with its zone, for titles and export. */
export function exact(at: string | number | null | undefined): string {
  const when = seconds(at);
  return when === null ? "" : new Date(when * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "long" });
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export function bytes(number: Maybe): string {
  if (!known(number)) return UNKNOWN;
  let size = number;
  let unit = 0;
  while (Math.abs(size) >= 999.5 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 99.95 ? Math.round(size) : size.toFixed(1)}${NBSP}${UNITS[unit]}`;
}

/** A sentence of others, begun with a capital: logs and detectors write theirs to stand behind a colon. */
export const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${grouped(count)}${NBSP}${count === 1 ? one : many}`;

/** Text of others in one line, with what cannot be seen shown as escapes. */
export const visible = (text: string): string => inert(text, { limit: Infinity });

/** Canonical key -> words; any other key is shown as it is. */
const METRICS: Record<string, string> = {
  loss: "loss",
  eval_loss: "evaluation loss",
  perplexity: "perplexity",
  eval_perplexity: "evaluation perplexity",
  accuracy: "accuracy",
  eval_accuracy: "evaluation accuracy",
  learning_rate: "learning rate",
  grad_norm: "gradient norm",
  aux_loss: "auxiliary loss",
  tokens_per_sec: "tokens/s",
  samples_per_sec: "samples/s",
  steps_per_sec: "steps/s",
  eta_seconds: "time remaining",
  gpu_memory_mb: "GPU memory",
};

/** What a table says of a name that may be anything, `constructor` too. */
export const entry = <T>(table: Record<string, T>, name: string): T | undefined => (Object.hasOwn(table, name) ? table[name] : undefined);

export const metricName = (metric: string): string => entry(METRICS, metric) ?? visible(metric);

const KINDS: Record<string, string> = { nonfinite: "NaN or infinity", gpu_hot: "hot GPU", memory_low: "little memory left" };

/** A kind or state as words: `loss_spike` -> `loss spike`. */
export const words = (kind: string): string => entry(KINDS, kind) ?? visible(kind).replaceAll("_", " ");
