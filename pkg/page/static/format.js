// Numbers, times and byte strings for people; the counterpart of facts.go.

import { toHex, toText } from "./bytes.js";

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const number = (n) => grouped.format(n);

// brief is a number for the edge of a plot.
export const brief = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format;

export function duration(seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "unknown";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const n = Math.floor(seconds);
  if (n < 3600) return `${Math.floor(n / 60)} min ${n % 60} s`;
  if (n < 86400) return `${Math.floor(n / 3600)} h ${Math.floor(n / 60) % 60} min`;
  return `${Math.floor(n / 86400)} d ${Math.floor(n / 3600) % 24} h`;
}

// ago is a time in the past, coarse enough not to flicker.
export function ago(seconds) {
  if (seconds < 1.5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

// shown is a byte string: text if it is some, else hexadecimal.
export function shown(bytes) {
  const most = 4096;
  const text = toText(bytes);
  if (bytes.length === 0) return { kind: "empty", text: "(no bytes)" };
  const suffix = bytes.length > most ? `… (${number(bytes.length)} bytes in all)` : "";
  if (text !== null) return { kind: "text", text: text.slice(0, most) + suffix };
  return { kind: "hexadecimal", text: toHex(bytes.subarray(0, most / 2)) + suffix };
}

// element makes a node; text is never read as markup.
export function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// put sets the text of an element if it is there and says something else.
export function put(id, text) {
  const e = document.getElementById(id);
  if (e && e.textContent !== text) e.textContent = text;
}
