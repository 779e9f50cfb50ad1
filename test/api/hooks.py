"""What a schema cannot say about requests that are valid.

A key, a value or a prefix is any byte string, written in the form that the
request names itself. Requests that are to be valid get such strings here,
made from whatever was generated; half of the keys are ones that exist.
Requests that are to be wrong stay as they are.
"""

import base64
import json
import os
import zlib

import schemathesis
from schemathesis.generation import GenerationMode

ENCODING = os.environ.get("PROOFSYNC_ENCODING", "variable")
KEYS = [base64.urlsafe_b64decode(k + "==") for k in os.environ.get("PROOFSYNC_KEYS", "").split(",") if k]


def write(form, b):
    if form == "hex":
        return b.hex()
    if form == "utf8":
        return b.decode(errors="replace")
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode()


def sized(b):
    """b as a key or value of the database."""
    return (b * 32 + bytes(32))[:32] if ENCODING == "fixed" else b


def key(form, text):
    b = str(text).encode(errors="replace")
    if KEYS and zlib.crc32(b) % 2 and form != "utf8":  # they are not text
        return write(form, KEYS[zlib.crc32(b) // 2 % len(KEYS)])
    if form == "utf8" and ENCODING == "fixed":
        return f"{zlib.crc32(b):032d}"
    return write(form, sized(b)) or "AA"


def value(form, text):
    b = str(text).encode(errors="replace")
    if form == "utf8" and ENCODING == "fixed":
        return f"{zlib.crc32(b):032d}"
    return write(form, sized(b))


def lines(form, text):
    keys = {key(form, c) for c in str(text)}
    return "".join(json.dumps({"key": k, "value": value(form, k)}) + "\n" for k in sorted(keys))


def whole(x):
    if isinstance(x, dict):
        return {k: whole(v) for k, v in x.items()}
    if isinstance(x, list):
        return [whole(v) for v in x]
    return int(x) if isinstance(x, float) and x.is_integer() else x


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.hook
def before_call(ctx, case, **kwargs):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    query = case.query or {}
    form = query.get("bytes", "base64url")
    if "key" in (case.path_parameters or {}):
        case.path_parameters["key"] = key(form, case.path_parameters["key"])
    for name in ("prefix", "after"):
        if name in query:
            query[name] = write(form, str(query[name]).encode(errors="replace")[:32])
    if case.media_type == "application/x-ndjson":
        case.body = lines(form, case.body)
        return
    query.pop("commit_every", None)  # says something about lines
    if not isinstance(case.body, dict):
        return
    # 3.0 is an integer to JSON Schema, and none to whoever has 64 bits to keep.
    case.body = whole(case.body)
    form = case.body.get("bytes", form)
    if "bytes" in query:
        query["bytes"] = form
    seen = set()
    writes = []
    for w in case.body.get("writes", []):
        w["key"] = key(form, w["key"])
        for name in ("value", "if_value"):
            if name in w:
                w[name] = value(form, w[name])
        if len({"if_value", "if_location"} & w.keys()) + bool(w.get("if_absent")) > 1:
            w.pop("if_value", None), w.pop("if_location", None)
        if w["key"] not in seen:
            writes.append(w)
        seen.add(w["key"])
    case.body["writes"] = writes
    if "metadata" in case.body:
        case.body["metadata"] = value(form, case.body["metadata"])
