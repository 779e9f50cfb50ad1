"""Recompute a log that `proofsync log --raw` wrote, with the reference model.

    recompute.py MODEL < operations.txt

MODEL is the directory of the model. A complete log is taken apart into batches,
each of which the model has to turn into the same operations; a log that starts
later is hashed from its pinned nodes on. Prints size, floor, root and, of a
complete log, the number of live keys.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1]) / "database"))
sys.path.insert(0, sys.argv[1])

from model import AnyDb, Codec, Commit, Delete, FloorDb  # noqa: E402
from mmr import inactive_peaks, leaf_digest, leaf_position, node_digest, peaks, root_from_peaks  # noqa: E402

head, pins, log = {}, [], []
for line in sys.stdin:
    fields = line.split()
    if fields[0] != "#":
        assert int(fields[0]) == int(head["start"]) + len(log), "locations are not consecutive"
        log.append(bytes.fromhex(fields[1]))
    elif fields[1] == "pin":
        pins.append(bytes.fromhex(fields[2]))
    else:
        head[fields[1]] = fields[2]

family, encoding = head["database"].split("/")
start = int(head["start"])
codec = Codec(family, encoding == "fixed")
ops = [codec.decode(b) for b in log]
assert [codec.encode(op) for op in ops] == log, "operations are not in their canonical form"

# The tree, as a stack of peaks.
stack = [(p.height, d) for p, d in zip(peaks(start), pins, strict=True)]
for i, b in enumerate(log):
    pos = leaf_position(start + i)
    height, digest = 0, leaf_digest(pos, b)
    while stack and stack[-1][0] == height:
        height += 1
        digest = node_digest(pos + height, stack.pop()[1], digest)
    stack.append((height, digest))
size, floor = start + len(log), ops[-1].floor
root = root_from_peaks(size, inactive_peaks(size, floor), [d for _, d in stack])
print("size", size)
print("floor", floor)
print("root", root.hex())

if start == 0:
    db = (AnyDb if family == "any" else FloorDb)(codec)
    assert ops[0] == db.ops[0], "the log does not begin with an empty commit"
    live, segment = {}, []
    for op in ops[1:]:
        segment.append(op)
        if not isinstance(op, Commit):
            continue
        writes = {}
        for o in segment[:-1]:
            if isinstance(o, Delete):
                writes[o.key] = None
            elif o.key not in writes and live.get(o.key) != o.value:
                writes[o.key] = o.value
        more = (op.metadata,) if family == "any" else (op.metadata, op.floor)
        made = db.apply(list(writes.items()), *more)
        assert made == segment, "the model makes other operations before location %d" % db.size
        live = {k: v for k, v in {**live, **writes}.items() if v is not None}
        segment = []
    assert not segment and db.root() == root, "two ways to the root, two roots"
    print("live", len(live))
