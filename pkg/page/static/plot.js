// The last minutes as a curve: inline SVG, redrawn when there is something new.

import { brief } from "./format.js";

const svg = (name, attributes, text) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
};

// Series counts in buckets of step seconds and remembers the last span seconds.
export class Series {
  constructor(span = 300, step = 2) {
    this.span = span;
    this.step = step;
    this.buckets = new Map(); // number of the bucket to its value
  }

  bucket(seconds) { return Math.floor(seconds / this.step); }

  // add sums what happened in a bucket up.
  add(seconds, n) {
    const b = this.bucket(seconds);
    this.buckets.set(b, (this.buckets.get(b) ?? 0) + n);
  }

  // note keeps the largest value that was seen in a bucket.
  note(seconds, value) {
    const b = this.bucket(seconds);
    this.buckets.set(b, Math.max(this.buckets.get(b) ?? 0, value));
  }

  // points lists [age in seconds, value] from the oldest bucket to the newest.
  // A bucket in which nothing was noted has the value before it, if hold.
  points(now, hold) {
    const last = this.bucket(now), first = last - Math.ceil(this.span / this.step);
    const list = [];
    let value = null;
    for (const [b, v] of this.buckets) {
      if (b < first) this.buckets.delete(b);
      else if (b > last) continue;
    }
    for (let b = first; b <= last; b++) {
      if (this.buckets.has(b)) value = this.buckets.get(b);
      else if (!hold) value = this.began !== undefined && b >= this.bucket(this.began) ? 0 : null;
      if (value !== null) list.push([(last - b) * this.step, value]);
    }
    return list;
  }
}

// ceiling is the next number up that an axis may end with.
function ceiling(x) {
  if (x <= 4) return 4;
  const ten = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 4, 5, 10].map((m) => m * ten).find((m) => m >= x);
}

// draw fills place with the points; unit is what they count.
export function draw(place, points, span, unit) {
  const width = place.clientWidth, height = place.clientHeight;
  if (width < 60 || height < 60) return;
  const box = { left: 38, right: width - 1, top: 8, bottom: height - 22 };
  const most = ceiling(Math.max(0, ...points.map((p) => p[1])));
  const x = (age) => box.right - ((box.right - box.left) * age) / span;
  const y = (value) => box.bottom - ((box.bottom - box.top) * value) / most;

  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const value of [0, most / 2, most]) {
    const at = Math.round(y(value)) + 0.5;
    picture.append(
      svg("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }),
      svg("text", { x: box.left - 6, y: at + 4, "text-anchor": "end" }, brief(value)),
    );
  }
  for (let minutes = Math.round(span / 60); minutes >= 0; minutes -= span >= 300 && width < 420 ? 5 : 1) {
    const anchor = minutes === 0 ? "end" : minutes * 60 === span ? "start" : "middle";
    picture.append(svg("text", { x: x(minutes * 60), y: height - 4, "text-anchor": anchor }, minutes ? `${minutes} min` : "now"));
  }
  if (points.length > 1) {
    const line = points.map(([age, value]) => `${x(age).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    const from = x(points[0][0]).toFixed(1), to = x(points.at(-1)[0]).toFixed(1);
    picture.append(
      svg("polygon", { class: "area", points: `${from},${box.bottom} ${line} ${to},${box.bottom}` }),
      svg("polyline", { class: "curve", points: line }),
    );
  }
  place.replaceChildren(picture);
  const now = points.at(-1)?.[1];
  place.setAttribute("aria-label", now === undefined ? "No data yet"
    : `${brief(now)} ${unit} now, at most ${brief(Math.max(...points.map((p) => p[1])))} in the last ${Math.round(span / 60)} minutes`);
}
