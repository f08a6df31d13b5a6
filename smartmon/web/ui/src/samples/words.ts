/** Two answers set side by side, where a file tells no tokens: word by word, so that one word too many shifts nothing. */

export type Verdict = "match" | "mismatch" | "missing" | "extra";

export interface Place {
  golden: string | null;
  predicted: string | null;
  verdict: Verdict;
}

export interface Comparison {
  places: Place[];
  matches: number;
  total: number;
  /** Percent; null where there is nothing to compare. */
  accuracy: number | null;
  unit: "tokens" | "words";
}

/** Cells of the table of a comparison; past it words are compared place by place. */
const CELLS_MOST = 4_000_000;

/** Compare two answers by their words (runs of what is no space), aligned so that as many as possible match. */
export function compareWords(golden: string, predicted: string, ended = true): Comparison {
  const wanted = words(golden);
  const said = words(predicted);
  let head = 0;
  while (head < wanted.length && head < said.length && wanted[head] === said[head]) head += 1;
  let tail = 0;
  const least = Math.min(wanted.length, said.length) - head;
  while (tail < least && wanted[wanted.length - 1 - tail] === said[said.length - 1 - tail]) tail += 1;
  const middle = aligned(wanted.slice(head, wanted.length - tail), said.slice(head, said.length - tail));
  const places = [
    ...wanted.slice(0, head).map(matched),
    ...middle,
    ...wanted.slice(wanted.length - tail).map(matched),
  ];
  return summed(ended ? places : asked(places), "words");
}

/** The sums of places whose verdicts are known. */
export function summed(places: Place[], unit: Comparison["unit"]): Comparison {
  const matches = places.filter((place) => place.verdict === "match").length;
  const total = places.length;
  return { places, matches, total, accuracy: total ? (100 * matches) / total : null, unit };
}

function words(text: string): string[] {
  return text.split(/\s+/u).filter((word) => word !== "");
}

function matched(word: string): Place {
  return { golden: word, predicted: word, verdict: "match" };
}

/** Without the golden words past the end of an answer that is still coming: nobody asked for them yet. */
function asked(places: Place[]): Place[] {
  let end = places.length;
  while (end > 0 && places[end - 1]?.verdict === "missing") end -= 1;
  return places.slice(0, end);
}

function aligned(wanted: string[], said: string[]): Place[] {
  if (wanted.length * said.length > CELLS_MOST) return paired(wanted, said);
  const places: Place[] = [];
  let from = 0;
  let came = 0;
  for (const [i, j] of common(wanted, said)) {
    places.push(...paired(wanted.slice(from, i), said.slice(came, j)), matched(wanted[i] as string));
    from = i + 1;
    came = j + 1;
  }
  return [...places, ...paired(wanted.slice(from), said.slice(came))];
}

/** Place by place: what both have and differs is a mismatch, what one has alone is missing or too many. */
function paired(wanted: string[], said: string[]): Place[] {
  return Array.from({ length: Math.max(wanted.length, said.length) }, (_, place) => {
    const golden = wanted[place] ?? null;
    const predicted = said[place] ?? null;
    if (golden === predicted) return { golden, predicted, verdict: "match" as const };
    const verdict = golden === null ? "extra" : predicted === null ? "missing" : "mismatch";
    return { golden, predicted, verdict };
  });
}

/** The longest common subsequence, as pairs of places. */
function common(wanted: string[], said: string[]): [number, number][] {
  const width = said.length + 1;
  const longest = new Uint16Array((wanted.length + 1) * width);
  const at = (i: number, j: number): number => longest[i * width + j] ?? 0;
  for (let i = wanted.length - 1; i >= 0; i -= 1) {
    for (let j = said.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = wanted[i] === said[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < wanted.length && j < said.length; ) {
    if (wanted[i] === said[j]) pairs.push([i++, j++]);
    else if (at(i + 1, j) >= at(i, j + 1)) i += 1;
    else j += 1;
  }
  return pairs;
}
