// Decodes the operations of the families any and immutable, in the encodings
// fixed and variable, as strictly as the Go code does (pkg/operation).

const maxKey = 64 << 10;
const maxOperation = 4 << 20;
const maxFloor = 1n << 62n;

const tags = {
  any: { 0xd1: "delete", 0xd2: "update", 0xd3: "commit" },
  immutable: { 0x00: "set", 0x01: "commit" },
};

// decode returns {kind, key, value, floor, metadata}; what an operation does
// not carry is undefined. It throws an Error about bytes that are no operation.
export function decode(bytes, family, encoding) {
  if (!Object.hasOwn(tags, family)) throw new Error(`family ${String(family).slice(0, 40)} is not known here`);
  if (encoding !== "fixed" && encoding !== "variable") throw new Error(`encoding ${String(encoding).slice(0, 40)} is not known here`);
  const kind = tags[family][bytes[0]];
  if (!kind) throw new Error("unknown operation tag");
  return encoding === "fixed" ? fixed(bytes, kind) : variable(bytes, kind);
}

function fixed(bytes, kind) {
  if (bytes.length !== 65) throw new Error(`operation of ${bytes.length} bytes, exactly 65 expected`);
  const op = { kind };
  let end = 1;
  if (kind === "commit") {
    const slot = bytes.subarray(2, 34);
    if (bytes[1] === 1) op.metadata = slot;
    else if (bytes[1] !== 0) throw new Error("option byte neither 0 nor 1");
    else if (slot.some(Boolean)) throw new Error("bytes in the slot of absent metadata");
    op.floor = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(34);
    end = 42;
  } else {
    op.key = bytes.subarray(1, 33);
    end = 33;
    if (kind !== "delete") {
      op.value = bytes.subarray(33, 65);
      end = 65;
    }
  }
  if (bytes.subarray(end).some(Boolean)) throw new Error("padding is not zero");
  return checked(op);
}

function variable(bytes, kind) {
  if (bytes.length > maxOperation) throw new Error(`operation of ${bytes.length} bytes, at most ${maxOperation}`);
  let at = 1;
  // number reads an unsigned LEB128 number of this many bits in its shortest form.
  const number = (bits) => {
    let v = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length) throw new Error("number cut short");
      const x = bytes[at];
      if (x === 0 && shift > 0n) throw new Error("number not in its shortest form");
      v |= BigInt(x & 0x7f) << shift;
      if (v >> bits || (x & 0x80 && shift + 7n >= bits)) throw new Error("number too wide");
      at++;
      if (x < 0x80) return v;
    }
  };
  const item = (name, most) => {
    const n = number(32n);
    if (n > BigInt(most)) throw new Error(`${name} of ${n} bytes, at most ${most}`);
    const end = at + Number(n);
    if (end > bytes.length) throw new Error(`${name} cut short`);
    const b = bytes.subarray(at, end);
    at = end;
    return b;
  };
  const op = { kind };
  if (kind === "commit") {
    const has = bytes[at++];
    if (has === 1) op.metadata = item("metadata", maxOperation);
    else if (has !== 0) throw new Error("option byte neither 0 nor 1");
    op.floor = number(64n);
  } else {
    op.key = item("key", maxKey);
    if (kind !== "delete") op.value = item("value", maxOperation);
  }
  if (at !== bytes.length) throw new Error("bytes left over");
  return checked(op);
}

function checked(op) {
  if (op.floor > maxFloor) throw new Error("floor above 2^62");
  return op;
}
