// Looks a key up and checks its proof here, against the root that the page had
// before it asked: an answer must not choose what it is compared with.

import { fromBase64URL, fromHex, toBase64URL } from "./bytes.js";
import { element, number, shown } from "./format.js";
import { sha256, webCrypto } from "./sha256.js";
import { Refused, verifyEntry } from "./verify.js";

const patience = 15_000; // milliseconds

// storedKey is what the database keeps of a key: in the encoding fixed, text
// and what has not 32 bytes is hashed.
export async function storedKey(text, as, encoding) {
  const key = as === "hex" ? fromHex(text.trim())
    : as === "base64url" ? fromBase64URL(text.trim().replace(/=+$/, ""))
    : new TextEncoder().encode(text);
  if (!key) throw new Error(`The key is not ${as === "hex" ? "hexadecimal" : "base64url"}.`);
  return encoding === "fixed" && !(as !== "text" && key.length === 32) ? sha256(key) : key;
}

// fetchEntry gets an entry with its proof, of the trusted state if that is
// still to be had. It returns {entry, trusted} or {problem}.
async function fetchEntry(key, page) {
  for (let attempt = 0; ; attempt++) {
    const trusted = page.trusted();
    if (!trusted) return { problem: { detail: "Nothing is readable yet." } };
    const answer = await fetch(`v1/keys/${toBase64URL(key)}?proof=true&at_size=${trusted.size}`, {
      cache: "no-store", signal: AbortSignal.timeout(patience),
    });
    const body = await answer.json();
    if (answer.ok) return { entry: body, trusted };
    // That state is not held any more: take a newer one, but from the status.
    if (attempt < 3 && (answer.status === 410 || answer.status === 422)) {
      await page.refresh();
      continue;
    }
    return { problem: body, trusted };
  }
}

function banner(kind, title, ...words) {
  return element("div", { class: `banner ${kind}`, "data-verdict": kind }, element("b", {}, title), element("p", {}, ...words));
}

function facts(rows, claimed = false) {
  const list = element("dl", { class: claimed ? "facts claimed" : "facts" });
  for (const [name, value, code] of rows) {
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, code ? element("code", {}, value) : value)));
  }
  return list;
}

function proved(proven, trusted) {
  const op = proven.operations[0];
  const key = shown(op.key), value = shown(op.value);
  const note = (b) => (b.kind === "text" ? "" : b.kind === "empty" ? "" : `, ${b.kind}`);
  return [
    banner("good", "Proven in this browser",
      `Operation ${number(proven.location)} gives this key this value under the root ${trusted.root.slice(0, 16)}… of ${number(proven.size)} operations. `
      + "That no later operation changed the key is what this process says; a proof of this kind does not show it."),
    facts([
      [`Key${note(key)}`, key.text, true],
      [`Value${note(value)}`, value.text, true],
      ["Location", `${number(proven.location)} of ${number(proven.size)}`],
      ["Root", trusted.root, true],
    ]),
    element("details", {}, element("summary", {}, "How it was checked"),
      facts([
        ["Leaf", proven.leaves[0], true],
        ["Digests", `${number(proven.digests)} of other operations, from the answer`],
        ["Computed", proven.root, true],
        ["Trusted", `${trusted.root} (the root this page had before it asked)`, true],
        ["SHA-256", webCrypto ? "the browser's" : "the page's own: the browser offers none over plain http"],
      ])),
  ];
}

function refused(err, entry, trusted) {
  const title = { missing: "No proof", unsupported: "A proof this page cannot check" }[err.reason] ?? "Not proven: do not use this answer";
  const claim = (text) => {
    const b = fromBase64URL(text);
    return b ? shown(b).text : String(text).slice(0, 200);
  };
  return [
    banner("bad", title, `${err.message[0].toUpperCase()}${err.message.slice(1)}.`),
    facts([
      ["Claimed key", claim(entry?.key), true],
      ["Claimed value", claim(entry?.value), true],
      ["Trusted root", trusted.root, true],
    ], true),
  ];
}

// lookUp fills place with what became of looking a key up. page has trusted(),
// the state {root, size, family, encoding} to compare with, and refresh(), a
// promise of a newer one.
export async function lookUp(place, text, as, page) {
  try {
    const key = await storedKey(text, as, page.trusted()?.encoding);
    const { entry, trusted, problem } = await fetchEntry(key, page);
    if (problem) {
      const absent = problem.code === "key_not_found";
      place.replaceChildren(absent
        ? banner("plain", "No value", `This process says that the key has none at size ${number(trusted.size)}. That a key is absent is not proven.`)
        : banner("bad", "No answer", problem.detail ?? "The process gives no reason."));
      return;
    }
    try {
      const proven = await verifyEntry(entry, key, trusted);
      place.replaceChildren(...proved(proven, trusted));
    } catch (err) {
      if (!(err instanceof Refused)) throw err;
      place.replaceChildren(...refused(err, entry, trusted));
    }
  } catch (err) {
    const why = err.name === "TimeoutError" ? "There was no answer in time." : err.message;
    place.replaceChildren(banner("bad", "Not looked up", why));
  }
}

