/** A chart as a picture or as a table, made here: nothing is sent anywhere. */
import { visible } from "../format";
import { colour } from "../theme";
import type { Table } from "./series";

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A file's name of a run and a chart: whatever a run is called, only letters, digits, dots and dashes. */
export const fileName = (run: string, chart: string, ending: string): string =>
  `${`${run}-${chart}`.replace(/[^A-Za-z0-9._-]+/g, "_").replace(/^[._-]+/, "").slice(0, 120) || "chart"}.${ending}`;

/** A canvas with a title and a legend above it. `width`: how wide it stands on the page. */
export function savePicture(source: HTMLCanvasElement, width: number, title: string, legend: readonly { label: string; colour: string }[], name: string): void {
  const ratio = source.width / width;
  const head = 46 * ratio;
  const canvas = document.createElement("canvas");
  canvas.width = source.width;
  canvas.height = source.height + head;
  const ctx = canvas.getContext("2d");
  if (!ctx) return;
  ctx.fillStyle = colour("surface");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.textBaseline = "top";
  ctx.fillStyle = colour("text");
  ctx.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  ctx.fillText(visible(title), 12 * ratio, 8 * ratio, canvas.width - 24 * ratio);
  ctx.font = `${11.5 * ratio}px system-ui, sans-serif`;
  let x = 12 * ratio;
  for (const entry of legend) {
    ctx.fillStyle = entry.colour;
    ctx.fillRect(x, 33 * ratio, 12 * ratio, 3 * ratio);
    ctx.fillStyle = colour("muted");
    ctx.fillText(entry.label, x + 17 * ratio, 28 * ratio);
    x += ctx.measureText(entry.label).width + 34 * ratio;
  }
  ctx.drawImage(source, 0, head);
  canvas.toBlob((blob) => blob && save(blob, name), "image/png");
}

/** A cell that a spreadsheet takes for text, not for a formula. */
const cell = (text: string): string => {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export function saveTable(table: Table, axis: string, name: string): void {
  const several = new Set(table.drawn.map((one) => one.run)).size > 1;
  const head = [axis].concat(
    table.drawn.map((one) => {
      const parts = [several ? one.run : "", one.line.label, one.role === "raw" ? "" : one.role];
      const attempts = table.attempts.length > 1 ? `attempt ${one.attempts.join("+")}` : "";
      return [...parts, attempts].filter(Boolean).join(" ");
    }),
  );
  const rows = [head.map(cell).join(",")];
  const [xs, ...columns] = table.data;
  const bad = new Set(table.nonfinite);
  for (let index = 0; index < xs.length; index += 1) {
    // Between two attempts the table has a gap, which is no row of the run.
    if (!bad.has(xs[index]!) && columns.every((column) => column[index] == null)) continue;
    rows.push([xs[index], ...columns.map((column) => column[index] ?? "")].join(","));
  }
  saveRows(rows, name);
}

/** Lines of a table, ready as they are. */
export function saveRows(rows: readonly string[], name: string): void {
  save(new Blob([`${rows.join("\n")}\n`], { type: "text/csv" }), name);
}
