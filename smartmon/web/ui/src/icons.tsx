/** Small drawings in the colour of the text around them. They say something, or they are hidden from readers. */
import type { JSX } from "preact";

const PATHS = {
  arrow: "M6 3.5 10.5 8 6 12.5",
  check: "M3 8.5 6.5 12 13 4.5",
  ring: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11",
  play: "M5 3.2 12.5 8 5 12.8Z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  stop: "M4 4h8v8H4Z",
  clock: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M8 5v3.2l2.2 1.5",
  cross: "M4 4l8 8M12 4l-8 8",
  warning: "M8 2.5 14.2 13H1.8ZM8 6.5v3M8 11.2v.1",
  critical: "M5.5 2h5L14 5.5v5L10.5 14h-5L2 10.5v-5ZM8 5v3.6M8 10.9v.1",
  info: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M8 7.4v3.4M8 5.2v.1",
  spike: "M1.5 11.5H5L8 2.5l3 9h3.5",
  trend: "M2 12.5 6 9l3 2 5-7M10.5 4H14v3.5",
  fall: "M2 4 6 8l3-2 5 6.5M10.5 12.5H14V9",
  star: "M8 2l1.8 3.9 4.2.5-3.1 2.9.8 4.2L8 11.4l-3.7 2.1.8-4.2L2 6.4l4.2-.5Z",
  box: "M2.5 5 8 2.5 13.5 5v6L8 13.5 2.5 11ZM2.5 5 8 7.5 13.5 5M8 7.5v6",
  flag: "M4 14V2.5h8.5L10.5 5.5l2 3H4",
  bell: "M4 11V7.5a4 4 0 0 1 8 0V11l1 1.5H3ZM6.8 14h2.4",
  gauge: "M2.5 11.5a5.8 5.8 0 1 1 11 0M8 9.5l2.8-3.6",
  chip: "M4.5 4.5h7v7h-7ZM6.5 2v2.5M9.5 2v2.5M6.5 11.5V14M9.5 11.5V14M2 6.5h2.5M2 9.5h2.5M11.5 6.5H14M11.5 9.5H14",
  list: "M5.5 4H14M5.5 8H14M5.5 12H14M2.2 4h.2M2.2 8h.2M2.2 12h.2",
  search: "M7 2.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9M10.3 10.3 14 14",
  sun: "M8 5.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6M8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1",
  moon: "M13.2 9.8A5.6 5.6 0 0 1 6.2 2.8a5.6 5.6 0 1 0 7 7Z",
  system: "M2 3h12v8H2ZM6 13.5h4M8 11v2.5",
  download: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.5h10",
  copy: "M5.5 5.5h7.5v8H5.5ZM10 5.5v-3H2.5v8h3",
  pin: "M6 2.5h4M7 2.5v4L5 9h6L9 6.5v-4M8 9v4.5",
  link: "M6.5 9.5l3-3M7 5l1.5-1.5a2.8 2.8 0 0 1 4 4L11 9M9 11l-1.5 1.5a2.8 2.8 0 0 1-4-4L5 7",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  plug: "M6 2.5v3M10 2.5v3M4.5 5.5h7V8a3.5 3.5 0 0 1-7 0ZM8 11.5v2.5",
  resume: "M12.8 5.5A5.5 5.5 0 1 0 13.5 9M13 2.5v3.2H9.8",
  disk: "M3 3h8l2 2v8H3ZM5.5 3v3.5h4.5V3M5.5 13V9.5h5V13",
  image: "M2.5 3.5h11v9h-11ZM2.5 10.5 6 7.5l3 3 2-2 2.5 2M10.8 5.9v.1",
  table: "M2.5 3.5h11v9h-11ZM2.5 6.5h11M6.5 3.5v9",
  help: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M6.4 6.4a1.7 1.7 0 1 1 2.4 1.7c-.6.3-.8.6-.8 1.1M8 11.1v.1",
} as const;

export type IconName = keyof typeof PATHS;

/** An icon. With `label` it speaks; without, it is decoration. */
export function Icon({ name, label, class: extra }: { name: IconName; label?: string; class?: string }): JSX.Element {
  return (
    <svg
      class={`icon${extra ? ` ${extra}` : ""}`}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      role={label ? "img" : undefined}
      aria-label={label}
      aria-hidden={label ? undefined : "true"}
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
