// Byte strings as the API writes them: base64url without padding, hexadecimal,
// UTF-8. Every byte string has one text; anything else is refused.

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const digits = new Int8Array(128).fill(-1);
[...alphabet].forEach((c, i) => { digits[c.charCodeAt(0)] = i; });

// fromBase64URL returns a Uint8Array, or null.
export function fromBase64URL(text) {
  if (typeof text !== "string" || text.length % 4 === 1) return null;
  const out = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0, have = 0, n = 0;
  for (let i = 0; i < text.length; i++) {
    const d = digits[text.charCodeAt(i)] ?? -1;
    if (d < 0) return null;
    bits = ((bits << 6) | d) & 0xffff;
    if ((have += 6) >= 8) {
      have -= 8;
      out[n++] = bits >> have;
    }
  }
  return bits & ((1 << have) - 1) ? null : out;
}

export function toBase64URL(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const n = Math.min(3, bytes.length - i);
    const x = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    for (let j = 0; j <= n; j++) text += alphabet[(x >> (18 - 6 * j)) & 63];
  }
  return text;
}

// fromHex returns a Uint8Array, or null.
export function fromHex(text) {
  if (typeof text !== "string" || text.length % 2 || !/^[0-9a-f]*$/i.test(text)) return null;
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = parseInt(text.substr(2 * i, 2), 16);
  return out;
}

export function toHex(bytes) {
  let text = "";
  for (const b of bytes) text += (b < 16 ? "0" : "") + b.toString(16);
  return text;
}

// toText returns the text that bytes are in UTF-8, or null if they are none
// that a page can show.
export function toText(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    // Controls and what changes the direction of writing would show something else.
    return /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

export function equal(a, b) {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}
