// Checks in the browser what the API answers: the counterpart of pkg/verify.
//
// A proof of the kind "operation" shows that these operations stand one after
// the other from their location on, under this root of a log of this size. It
// does not show that no later operation replaced one of them.
//
// It is pure: documents and a hash function in, a result or a Refused out.
// Numbers that go into hashes are BigInts, because they are 64 bits wide there.

import { equal, fromBase64URL, fromHex, toHex } from "./bytes.js";
import { decode } from "./operation.js";
import { sha256 } from "./sha256.js";

const maxOperations = 10_000;
const maxText = Math.ceil(((4 << 20) * 4) / 3);

// Refused says why an answer is not proven. reason is one of missing,
// unsupported, root, malformed, digests, answer.
export class Refused extends Error {
  constructor(reason, message) {
    super(message);
    this.name = "Refused";
    this.reason = reason;
  }
}

// refuse stands where a value was expected.
const refuse = (reason, message) => { throw new Refused(reason, message); };

const short = (s) => JSON.stringify(s)?.slice(0, 80) ?? "nothing";

function digest(text, what) {
  const b = typeof text === "string" && text.length === 64 ? fromHex(text) : null;
  return b ?? refuse("malformed", `${what} is no digest: ${short(text)}`);
}

function count(x, what) {
  return Number.isSafeInteger(x) && x >= 0 ? x : refuse("malformed", `${what} is no number a page can count with: ${short(x)}`);
}

// same compares the state that somebody names with the trusted one.
function same(named, trusted, who) {
  const root = toHex(digest(named.root, `the root of ${who}`));
  const size = count(named.size, `the size of ${who}`);
  if (root !== trusted.root || size !== trusted.size) {
    refuse("root", `${who} is about root ${root} of ${size} operations, trusted is root ${trusted.root} of ${trusted.size}`);
  }
}

// verifyEntry checks the answer to GET /v1/keys/{key}?proof=true. key is what
// was asked for, as bytes; trusted is {root, size}, and {family, encoding} of the
// log where they are known: a root does not say them, and some bytes are an
// operation in more than one. It returns what verifyProof does.
export async function verifyEntry(entry, key, trusted, hash = sha256) {
  const proof = entry?.proof ?? refuse("missing", "the answer carries no proof");
  same(entry, trusted, "the answer");
  const proven = await verifyProof(proof, trusted, hash);
  if (proven.operations.length !== 1) refuse("answer", `the proof is of ${proven.operations.length} operations, an entry is one`);
  const op = proven.operations[0];
  if (entry.location !== proven.location) refuse("answer", `the answer names location ${short(entry.location)}, the proof location ${proven.location}`);
  if (op.kind !== "update" && op.kind !== "set") refuse("answer", `the operation is a ${op.kind}: it gives no key a value`);
  if (!equal(op.key, key)) refuse("answer", "the proof is about another key than the one asked for");
  const read = { base64url: fromBase64URL, hex: fromHex, utf8: (s) => new TextEncoder().encode(s) }[entry.bytes ?? "base64url"];
  if (!read) refuse("malformed", `bytes ${short(entry.bytes)} are not known here`);
  for (const name of ["key", "value"]) {
    const got = (typeof entry[name] === "string" ? read(entry[name]) : null) ?? refuse("malformed", `the ${name} of the answer does not parse`);
    if (!equal(got, op[name])) refuse("answer", `the answer has another ${name} than the operation that was proven`);
  }
  return proven;
}

// verifyProof checks a proof by itself. It returns {operations, location, root,
// size, leaves, digests}: the decoded operations, where they stand, under what,
// their digests in hexadecimal, and how many digests of others it took.
export async function verifyProof(proof, trusted, hash = sha256) {
  if (proof.kind !== "operation") refuse("unsupported", `proofs of the kind ${short(proof.kind)} are not known here`);
  for (const name of ["family", "encoding"]) {
    if (trusted[name] && proof[name] !== trusted[name]) refuse("answer", `the proof is of the ${name} ${short(proof[name])}, this log is ${trusted[name]}`);
  }
  same(proof, trusted, "the proof");
  const location = count(proof.location, "the location");
  const encoded = proof.operations;
  if (!Array.isArray(encoded) || encoded.length < 1 || encoded.length > maxOperations) refuse("malformed", "no operations, or too many");
  if (location + encoded.length > proof.size) refuse("malformed", `location ${location} is not below size ${proof.size}`);

  const operations = [], leaves = [];
  for (const [i, text] of encoded.entries()) {
    const bytes = (typeof text === "string" && text.length <= maxText ? fromBase64URL(text) : null) ?? refuse("malformed", "an operation is no base64url");
    try {
      operations.push(decode(bytes, proof.family, proof.encoding));
    } catch (err) {
      refuse("malformed", `operation ${location + i}: ${err.message}`);
    }
    leaves.push(await hash(concat(be64(leafPosition(BigInt(location + i))), bytes)));
  }
  const root = toHex(await recompute(proof, BigInt(location), leaves, hash));
  if (root !== trusted.root) refuse("digests", `the proof leads to root ${root}, trusted is ${trusted.root}`);
  return { operations, location, root, size: proof.size, leaves: leaves.map(toHex), digests: proof.digests.length };
}

// The Merkle mountain range. A node {height, index} is the perfect subtree over
// the leaves [index << height, (index + 1) << height).

const first = (n) => n.index << n.height;
const end = (n) => (n.index + 1n) << n.height;
const left = (n) => ({ height: n.height - 1n, index: 2n * n.index });
const right = (n) => ({ height: n.height - 1n, index: 2n * n.index + 1n });

function ones(x) {
  let n = 0n;
  for (; x; x &= x - 1n) n++;
  return n;
}

const leafPosition = (location) => 2n * location - ones(location);
const position = (n) => leafPosition(end(n) - 1n) + n.height;

function peaksOf(leaves) {
  const peaks = [];
  for (let h = 62n; h >= 0n; h--) {
    if ((leaves >> h) & 1n) peaks.push({ height: h, index: (leaves >> h) - 1n });
  }
  return peaks;
}

function be64(x) {
  const b = new Uint8Array(8);
  new DataView(b.buffer).setBigUint64(0, x);
  return b;
}

function concat(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

// outside appends the largest subtrees of n that lie wholly outside [from, to).
function outside(list, n, from, to) {
  if (end(n) <= from || first(n) >= to) list.push(n);
  else if (first(n) < from || end(n) > to) outside(outside(list, left(n), from, to), right(n), from, to);
  return list;
}

// recompute is the root that the proof and the digests of its operations lead to.
async function recompute(proof, from, leaves, hash) {
  const size = BigInt(proof.size);
  const to = from + BigInt(leaves.length);
  const peaks = peaksOf(size);
  const inactive = count(proof.inactive_peaks, "the number of inactive peaks");
  if (inactive > peaks.length) refuse("digests", `${inactive} inactive peaks of ${peaks.length}`);

  // Peaks before the range, in it and after it; the inactive ones come first,
  // and those before the range are folded into one digest, as are the active
  // ones after it.
  const begins = peaks.findIndex((p) => end(p) > from);
  const ends = peaks.findLastIndex((p) => first(p) < to) + 1;
  const folded = peaks.slice(0, Math.min(inactive, begins));
  const before = peaks.slice(folded.length, begins);
  const touching = peaks.slice(begins, ends);
  const after = peaks.slice(ends, Math.max(inactive, ends));
  const suffix = peaks.slice(ends + after.length);
  const siblings = touching.reduce((list, p) => outside(list, p, from, to), []);

  const want = Math.min(folded.length, 1) + before.length + after.length + Math.min(suffix.length, 1) + siblings.length;
  if (!Array.isArray(proof.digests) || proof.digests.length !== want) {
    refuse("digests", `${proof.digests?.length ?? "no"} digests, exactly ${want} expected`);
  }
  let rest = proof.digests.map((d, i) => digest(d, `digest ${i}`));
  const take = (n) => {
    const got = rest.slice(0, n);
    rest = rest.slice(n);
    return got;
  };
  const got = {
    folded: take(Math.min(folded.length, 1)), before: take(before.length), after: take(after.length),
    suffix: take(Math.min(suffix.length, 1)), siblings: take(siblings.length),
  };
  await checkPins(proof, from, folded, [...got.before, ...got.siblings.filter((_, i) => end(siblings[i]) <= from)], got.folded[0], hash);

  let next = 0;
  const rebuild = async (n) => {
    if (end(n) <= from || first(n) >= to) return got.siblings[next++];
    if (n.height === 0n) return leaves[Number(n.index - from)];
    const l = await rebuild(left(n)); // before the right one: it takes its digests first
    return hash(concat(be64(position(n)), l, await rebuild(right(n))));
  };
  const list = [...got.folded, ...got.before];
  for (const p of touching) list.push(await rebuild(p));
  list.push(...got.after, ...got.suffix);

  // The inactive peaks are folded from the left, the others from the right.
  const fromLeft = Math.max(folded.length ? inactive - folded.length + 1 : inactive, 1);
  let acc = list[0];
  for (const d of list.slice(1, fromLeft)) acc = await hash(concat(acc, d));
  const others = list.slice(fromLeft);
  if (others.length) {
    let r = others.pop();
    while (others.length) r = await hash(concat(others.pop(), r));
    acc = await hash(concat(acc, r));
  }
  return hash(inactive ? concat(be64(size), be64(BigInt(inactive)), acc) : concat(be64(size), acc));
}

// checkPins compares the pinned nodes, if there are any, with what the proof
// says of everything before its location.
async function checkPins(proof, from, folded, claimed, accumulator, hash) {
  if (proof.pins === undefined || proof.pins === null || proof.pins.length === 0) return;
  const wrong = () => refuse("digests", `the pinned nodes of location ${from} do not match the proof`);
  if (!Array.isArray(proof.pins) || BigInt(proof.pins.length) !== ones(from)) wrong();
  const pins = proof.pins.map((d, i) => digest(d, `pinned node ${i}`));
  if (folded.length) {
    let acc = pins[0];
    for (const d of pins.slice(1, folded.length)) acc = await hash(concat(acc, d));
    if (!equal(acc, accumulator)) wrong();
  }
  const others = pins.slice(folded.length);
  if (others.length !== claimed.length || others.some((d, i) => !equal(d, claimed[i]))) wrong();
}
