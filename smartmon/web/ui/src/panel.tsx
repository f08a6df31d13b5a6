/** The frame around everything that can be folded, and the small pages that stand where data would be. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useId } from "preact/hooks";

import { Icon } from "./icons";
import { remembered } from "./settings";

interface PanelProps {
  title: string;
  /** What it is remembered by; without it, it cannot be folded. */
  id?: string;
  /** Whether it is open before anybody chose. */
  open?: boolean;
  /** A few words beside the title: a count, a value. */
  aside?: ComponentChildren;
  /** Buttons at the right. */
  tools?: ComponentChildren;
  /** Content goes to the edges. */
  flush?: boolean;
  class?: string;
  children?: ComponentChildren | (() => ComponentChildren);
}

/** A titled box. A folded one does not build its content: give it as a function where that costs something. */
export function Panel(props: PanelProps): JSX.Element {
  const body = useId();
  const alwaysOpen = useSignal(true);
  const open = props.id ? remembered(`open.${props.id}`, props.open ?? true) : alwaysOpen;
  const shown = open.value;
  const content = () => (typeof props.children === "function" ? props.children() : props.children);
  return (
    <section class={`panel${props.class ? ` ${props.class}` : ""}`} data-panel={props.id}>
      <header>
        <h2>
          {props.id ? (
            <button
              type="button"
              class="fold"
              aria-expanded={shown}
              aria-controls={body}
              onClick={() => (open.value = !open.value)}
            >
              <Icon name="arrow" />
              {props.title}
            </button>
          ) : (
            props.title
          )}
        </h2>
        {props.aside != null && <span class="aside">{props.aside}</span>}
        {shown && props.tools != null && <div class="tools">{props.tools}</div>}
      </header>
      {shown && (
        <div id={body} class={props.flush ? "body flush" : "body"}>
          {content()}
        </div>
      )}
    </section>
  );
}

/** What stands in a panel that has nothing to show: why, and what to do. */
export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <div class="empty">{children}</div>;
}

/** A page's worth of "there is nothing yet". */
export function Nothing({ title, children }: { title: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="nothing">
      <h1>{title}</h1>
      {children}
    </section>
  );
}
