/** A box that keeps its height while sentences in it come and go, so that what lies below does not jump. */
import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** Lets the box only grow, until the mark or the width is another. */
export function useCalm<Box extends HTMLElement>(mark: string): RefObject<Box | null> {
  const box = useRef<Box>(null);
  const kept = useRef({ mark: "", width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const width = element.clientWidth;
    if (kept.current.mark !== mark || kept.current.width !== width) {
      kept.current = { mark, width, height: 0 };
      element.style.minHeight = "";
    }
    const { height } = element.getBoundingClientRect();
    if (height <= kept.current.height) return;
    kept.current.height = height;
    element.style.minHeight = `${height}px`;
  });
  return box;
}
