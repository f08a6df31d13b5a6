/** A stranger's text on the page: text nodes only, cut when it is long, with a button for more. */
import { useState } from "preact/hooks";
import { cut, pieces } from "./inert";
import "./text.css";

const MORE = 20_000;

interface ShownProps {
  text: string;
  /** Characters to show at first. */
  limit?: number;
  /** Whether line feeds and runs of spaces are kept. */
  lines?: boolean;
}

/** The text, its own direction kept to itself, hidden characters spelled out. */
export function Shown({ text, limit = 1_000, lines = false }: ShownProps) {
  const [most, setMost] = useState(limit);
  const left = text.length - most;
  return (
    <>
      <bdi class={lines ? "shown lines" : "shown"}>
        <Pieces text={cut(text, most)} />
      </bdi>
      {left > 0 && (
        <button type="button" class="more" onClick={() => setMost(most + MORE)}>
          … {left.toLocaleString("en-US")} more characters
        </button>
      )}
    </>
  );
}

/** The pieces of a text, each escape in its own element. */
export function Pieces({ text }: { text: string }) {
  return (
    <>
      {pieces(text).map((piece) =>
        piece.escape ? <span class="escape" title="a character that does not show">{piece.text}</span> : piece.text,
      )}
    </>
  );
}
