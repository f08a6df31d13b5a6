/** Which run is looked at, and the list to choose another one from. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { visible } from "../format";
import { Icon } from "../icons";
import { stateLook } from "../looks";
import { card, following, run, runs } from "../store";
import { RunList } from "./list";
import { cardLook } from "./row";

export function RunSelector(): JSX.Element | null {
  const open = useSignal(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    const outside = (event: MouseEvent) => {
      if (!box.current?.contains(event.target as Node)) open.value = false;
    };
    const moved = () => (open.value = false);
    const key = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.matches("input, select, textarea");
      if (event.key === "/" && !typing) {
        event.preventDefault();
        open.value = true;
      }
      if (event.key === "Escape" && open.peek()) {
        open.value = false;
        button.current?.focus();
      }
    };
    addEventListener("mousedown", outside);
    addEventListener("hashchange", moved);
    addEventListener("keydown", key);
    return () => {
      removeEventListener("mousedown", outside);
      removeEventListener("hashchange", moved);
      removeEventListener("keydown", key);
    };
  }, []);

  if (!runs.value?.length || run.value === null) return <span class="selector" />;
  const look = card.value ? cardLook(card.value) : { ...stateLook(""), word: "" };
  return (
    <div class="selector" ref={box}>
      <button
        type="button"
        class="button"
        ref={button}
        aria-expanded={open.value}
        aria-haspopup="true"
        title={following.value ? "The current run; it changes by itself. Another: /" : "Choose a run: /"}
        onClick={() => (open.value = !open.value)}
      >
        <span class={look.colour}>
          <Icon name={look.icon} label={look.word} />
        </span>
        <b>{visible(run.value)}</b>
        <Icon name="arrow" class="down" />
      </button>
      {open.value && (
        <div class="selector-list" role="dialog" aria-label="Choose a run">
          <RunList focused />
          {!following.value && (
            <a class="button plain" href="#/">
              Follow the current run
            </a>
          )}
        </div>
      )}
    </div>
  );
}
