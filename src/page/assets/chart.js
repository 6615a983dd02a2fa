// Drawings on one time axis: bars of what ran when, and curves of what it used.

import { draw } from "/page/dom.js";
import { axisTime, bytes, trimmed } from "/page/text.js";

/** Room for "1023 MiB". */
const LEFT = 62;
const RIGHT = 10;
const ROW = 30;
const CURVES = 120;
/** About the width of a letter of a name. */
const LETTER = 6.6;

/** A time axis over a width. */
export class Axis {
  constructor(from, to, width) {
    this.from = from;
    this.to = Math.max(to, from + 100);
    this.width = Math.max(width, LEFT + RIGHT + 100);
  }

  x(at) {
    const part = (Math.min(Math.max(at, this.from), this.to) - this.from) / (this.to - this.from);
    return LEFT + part * (this.width - LEFT - RIGHT);
  }

  /** Moments for labels, at round distances. */
  ticks() {
    const span = this.to - this.from;
    const most = Math.max(2, Math.floor((this.width - LEFT) / 80));
    const steps = [100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 144e5, 432e5];
    const step = steps.find((one) => span / one <= most) ?? 864e5;
    const ticks = [];
    for (let after = 0; after <= span; after += step) ticks.push(after);
    return ticks;
  }
}

const round = (value) => Math.round(value * 10) / 10;

function frame(axis, height, label) {
  return draw("svg", {
    width: axis.width, height, viewBox: `0 0 ${axis.width} ${height}`, role: "img", "aria-label": label,
  });
}

function grid(svg, axis, top, bottom, labels) {
  for (const after of axis.ticks()) {
    const x = round(axis.x(axis.from + after));
    svg.append(draw("line", { class: "grid", x1: x, x2: x, y1: top, y2: bottom }));
    // One at the very edge would be cut off.
    if (labels && x < axis.width - 26) {
      svg.append(draw("text", { class: "tick", x, y: bottom + 14, "text-anchor": after ? "middle" : "start" }, axisTime(after)));
    }
  }
}

/** Bars under their names. A row: {name, title, from, to, result, kind, parts: [{from, to, kind}]}. */
export function timeline(axis, rows, label) {
  const height = rows.length * ROW + 24;
  const svg = frame(axis, height, label);
  grid(svg, axis, 0, height - 22, true);
  rows.forEach((row, at) => {
    const y = at * ROW;
    const x = round(axis.x(row.from));
    const width = Math.max(2, round(axis.x(row.to) - x));
    const group = draw("g", { class: `bar ${row.kind} ${row.result}` }, draw("title", {}, row.title));
    group.append(draw("rect", { class: "track", x: LEFT, y: y + 16, width: axis.width - LEFT - RIGHT, height: 9, rx: 2 }));
    group.append(draw("rect", { class: "body", x, y: y + 16, width, height: 9, rx: 2 }));
    for (const part of row.parts ?? []) {
      const from = round(axis.x(part.from));
      group.append(draw("rect", { class: `part ${part.kind}`, x: from, y: y + 16, width: Math.max(1, round(axis.x(part.to) - from)), height: 9 }));
    }
    for (const moment of row.marks ?? []) group.append(mark(axis.x(moment.at), y + 13, 15, moment.text));
    // A name that would run over the right edge ends at it; one that is longer still is cut.
    const room = axis.width - LEFT - RIGHT;
    const letters = Array.from(row.name);
    const name = letters.length * LETTER > room ? `${letters.slice(0, room / LETTER - 1).join("")}\u2026` : row.name;
    const late = x + letters.length * LETTER > axis.width - RIGHT;
    group.append(draw("text", {
      class: "name", x: late ? axis.width - RIGHT : x, y: y + 12, "text-anchor": late ? "end" : "start",
    }, name));
    svg.append(group);
  });
  return svg;
}

function mark(x, y, height, text) {
  const place = round(x);
  return draw("g", { class: "mark" }, draw("title", {}, text),
    draw("line", { x1: place, x2: place, y1: y, y2: y + height }),
    draw("circle", { cx: place, cy: y, r: 3 }));
}

/** A round number that is not below a value. */
function ceiling(value, units) {
  if (!(value > 0)) return units[0];
  const base = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * base).find((step) => step >= value) ?? value;
}

function ceilingBytes(value) {
  let step = 1 << 20;
  while (step < value) step *= 2;
  return value > 0 && step * 0.75 >= value ? step * 0.75 : step;
}

/** Curves over time. A line: {series, points: [{from, to, value}], limit}; a band: {from, to, part};
 * marks: {at, text}. `unit`: "cpu" in thousandths, or "memory" in bytes. */
export function curves(axis, { lines, bands, marks, unit, label, last }) {
  const bottom = CURVES - (last ? 18 : 6);
  const svg = frame(axis, CURVES, label);
  const values = lines.flatMap((line) => line.points.map((point) => point.value ?? 0));
  const highest = Math.max(0, ...values);
  // A limit far above what was used would press the curves to the ground: it is named, not drawn.
  const limits = lines.filter((line) => line.limit != null && line.limit <= highest * 4);
  const most = Math.max(highest, ...limits.map((line) => line.limit)) * 1.08;
  const top = unit === "cpu" ? ceiling(most, [100]) : ceilingBytes(most);
  const y = (value) => round(bottom - (Math.min(value, top) / top) * (bottom - 12));
  grid(svg, axis, 6, bottom, last);
  for (const part of [0, 0.5, 1]) {
    const at = y(top * part);
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: axis.width - RIGHT, y1: at, y2: at }));
    const text = unit === "cpu" ? trimmed((top * part) / 1000) : part ? bytes(top * part) : "0";
    svg.append(draw("text", { class: "tick", x: LEFT - 5, y: at + 4, "text-anchor": "end" }, text));
  }
  for (const band of bands ?? []) {
    const x = round(axis.x(band.from));
    const width = Math.max(2, round(axis.x(band.to) - x));
    svg.append(draw("rect", { class: "band", x, y: 12, width, height: bottom - 12, "fill-opacity": round(Math.min(0.45, 0.12 + band.part / 2)) },
      draw("title", {}, band.text)));
  }
  for (const line of lines) {
    const path = outline(line.points, axis, y);
    if (path) svg.append(draw("path", { class: `curve s${line.series % 8}`, d: path }, draw("title", {}, line.name)));
  }
  for (const line of limits) {
    svg.append(draw("line", { class: `limit s${line.series % 8}`, x1: LEFT, x2: axis.width - RIGHT, y1: y(line.limit), y2: y(line.limit) },
      draw("title", {}, `limit of ${line.name}`)));
  }
  for (const moment of marks ?? []) svg.append(mark(axis.x(moment.at), 12, bottom - 12, moment.text));
  return svg;
}

/** Steps from point to point; a value that is not known is a gap. */
function outline(points, axis, y) {
  let path = "";
  let end = null;
  for (const point of points) {
    if (point.value == null || point.to < axis.from) {
      end = null;
      continue;
    }
    const from = round(axis.x(point.from));
    const joins = end != null && point.from <= end + 50;
    path += `${joins ? "V" : `M${from} `}${y(point.value)}H${Math.max(from, round(axis.x(point.to)))}`;
    end = point.to;
  }
  return path;
}
