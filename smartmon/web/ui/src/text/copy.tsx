/** A command to run next, and a button that copies it. */
import { useEffect, useState } from "preact/hooks";
import { Pieces } from "./shown";
import "./text.css";

const SAID_FOR = 2_000;

type Outcome = "" | "copied" | "select it and press Ctrl-C";

/** A command in a line of its own. What is copied is the text as it is, what is shown has its escapes spelled out. */
export function Command({ text, label = "Command" }: { text: string; label?: string }) {
  const [outcome, setOutcome] = useState<Outcome>("");
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(""), SAID_FOR);
    return () => clearTimeout(timer);
  }, [outcome]);
  return (
    <div class="command">
      <code tabIndex={0} aria-label={label}>
        <Pieces text={text} />
      </code>
      <button type="button" onClick={() => void copied(text).then(setOutcome)}>
        {outcome === "copied" ? "✓ copied" : "Copy"}
      </button>
      <span class="quiet" role="status">
        {outcome === "copied" ? "" : outcome}
      </span>
    </div>
  );
}

/** Over plain http to another machine a page gets no clipboard: then a hidden field does it the old way. */
async function copied(text: string): Promise<Outcome> {
  try {
    await navigator.clipboard.writeText(text);
    return "copied";
  } catch {
    return oldWay(text) ? "copied" : "select it and press Ctrl-C";
  }
}

function oldWay(text: string): boolean {
  const field = document.createElement("textarea");
  const before = document.activeElement;
  field.value = text;
  field.className = "offscreen";
  document.body.append(field);
  field.select();
  try {
    return document.execCommand("copy");
  } finally {
    field.remove();
    if (before instanceof HTMLElement) before.focus();
  }
}

/** Words for a shell: quoted unless they are plain. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
