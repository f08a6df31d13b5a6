/** Text that strangers wrote, made harmless: what cannot be seen, or turns a line around, is spelled out. */

export interface Piece {
  text: string;
  /** Whether this is the spelling of a character that would not show. */
  escape: boolean;
}

/**
 * Control, format (bidi, zero-width), private and default-ignorable characters, and halves of a surrogate pair. Line
 * feed and tab stay, and so does the selector that makes an emoji of a sign.
 */
const HIDDEN = /(?![\n\t\ufe0f])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;
const MARKS_MOST = 4;
const PILED = new RegExp(`(\\p{M}{${MARKS_MOST}})\\p{M}+`, "gu");

/** `\u202e`, as Python would write it. */
export function spelled(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** The text in pieces, each either as it is or the spelling of one hidden character. Piled-up accents are cut. */
export function pieces(text: string): Piece[] {
  const calm = text.replace(/\r\n/g, "\n").replace(PILED, "$1");
  const found: Piece[] = [];
  let from = 0;
  for (const match of calm.matchAll(HIDDEN)) {
    if (match.index > from) found.push({ text: calm.slice(from, match.index), escape: false });
    found.push({ text: spelled(match[0]), escape: true });
    from = match.index + match[0].length;
  }
  if (from < calm.length) found.push({ text: calm.slice(from), escape: false });
  return found;
}

/** The same as one string, for a title or a label; `oneLine` also spells out line feeds and tabs. */
export function inert(text: string, { oneLine = true, limit = 300 } = {}): string {
  const whole = pieces(cut(text, limit))
    .map((piece) => piece.text)
    .join("");
  const shown = oneLine ? whole.replace(/\n/g, "\\n").replace(/\t/g, "\\t") : whole;
  return text.length > limit ? `${shown}…` : shown;
}

/** The first `limit` code units, without splitting a character that takes two. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const last = text.charCodeAt(limit - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? limit - 1 : limit);
}
