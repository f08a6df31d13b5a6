/** What each line of a log is about, by which it is coloured and filtered. */

/** The types, with what they are called; their colours are in log.css. */
export const TYPES = {
  start: "start",
  step: "step",
  evaluation: "evaluation",
  checkpoint: "checkpoint",
  alert: "alert",
  error: "error",
  end: "end",
  other: "other",
} as const;

export type LineType = keyof typeof TYPES;

/** The type that the server told, or `other` for one that this page does not know. */
export function lineType(told: string): LineType {
  return Object.hasOwn(TYPES, told) ? (told as LineType) : "other";
}

/** Lines that hold the words searched for, whatever their case, and are of a type that is wanted. */
export function matching<L extends { text: string; type: string }>(
  lines: readonly L[],
  search: string,
  types: ReadonlySet<LineType>,
): L[] {
  const words = search.toLowerCase().split(/\s+/u).filter(Boolean);
  return lines.filter((line) => {
    if (types.size > 0 && !types.has(lineType(line.type))) return false;
    const text = line.text.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
