package operation_test

import (
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// The published hashes are made of operations whose keys and some of whose
// values are 8-byte numbers; Vec<u8> items are byte strings.
func TestEncodingsMatchPublishedHashes(t *testing.T) {
	number := func(u *vectors.Arbitrary) []byte { return u.Take(8) }
	text := func(u *vectors.Arbitrary) []byte { return u.Bytes() }
	type source func(*vectors.Arbitrary) []byte

	commit := func(u *vectors.Arbitrary, value source) operation.Operation {
		op := operation.Operation{Kind: operation.Commit}
		if u.Bool() {
			op.Value = value(u)
		}
		op.Floor = u.Between(0, mmr.MaxLeaves)
		return op
	}
	anyOp := func(value source) func(*vectors.Arbitrary) operation.Operation {
		return func(u *vectors.Arbitrary) operation.Operation {
			switch u.Between(0, 2) {
			case 0:
				return operation.Operation{Kind: operation.Delete, Key: number(u)}
			case 1:
				return operation.Operation{Kind: operation.Update, Key: number(u), Value: value(u)}
			default:
				return commit(u, value)
			}
		}
	}
	immutableOp := func(key, value source) func(*vectors.Arbitrary) operation.Operation {
		return func(u *vectors.Arbitrary) operation.Operation {
			if u.Between(0, 1) == 0 {
				return operation.Operation{Kind: operation.Set, Key: key(u), Value: value(u)}
			}
			return commit(u, value)
		}
	}
	keylessOp := func(u *vectors.Arbitrary) operation.Operation {
		if u.Between(0, 1) == 0 {
			return operation.Operation{Kind: operation.Append, Value: number(u)}
		}
		return commit(u, number)
	}
	update := func(value source) func(*vectors.Arbitrary) operation.Operation {
		return func(u *vectors.Arbitrary) operation.Operation {
			return operation.Operation{Kind: operation.Update, Key: number(u), Value: value(u)}
		}
	}
	codec := func(f operation.Family, e operation.Encoding, key, value int) operation.Codec {
		return operation.NewCodec(f, e).WithWidths(key, value)
	}

	for _, c := range []struct {
		name  string
		codec operation.Codec
		op    func(*vectors.Arbitrary) operation.Operation
		part  bool // key and value alone: neither tag nor padding
	}{
		{name: "any::operation::tests::conformance::CodecConformance<UnorderedOperation<mmr::Family,U64,FixedEncoding<U64>>>",
			codec: codec(operation.Any, operation.Fixed, 8, 8), op: anyOp(number)},
		{name: "any::operation::tests::conformance::CodecConformance<UnorderedOperation<mmr::Family,U64,VariableEncoding<Vec<u8>>>>",
			codec: codec(operation.Any, operation.Variable, 8, 0), op: anyOp(text)},
		{name: "any::operation::update::tests::conformance::CodecConformance<UnorderedUpdate<U64,FixedEncoding<U64>>>",
			codec: codec(operation.Any, operation.Fixed, 8, 8), op: update(number), part: true},
		{name: "any::operation::update::tests::conformance::CodecConformance<UnorderedUpdate<U64,VariableEncoding<Vec<u8>>>>",
			codec: codec(operation.Any, operation.Variable, 8, 0), op: update(text), part: true},
		{name: "immutable::operation::fixed::tests::conformance::CodecConformance<FixedOp>",
			codec: codec(operation.Immutable, operation.Fixed, 8, 8), op: immutableOp(number, number)},
		{name: "immutable::operation::variable::tests::conformance::CodecConformance<VarOp>",
			codec: codec(operation.Immutable, operation.Variable, 8, 8), op: immutableOp(number, number)},
		{name: "immutable::operation::variable::tests::conformance::CodecConformance<VarKeyOp>",
			codec: codec(operation.Immutable, operation.Variable, 0, 8), op: immutableOp(text, number)},
		{name: "keyless::operation::tests::conformance::CodecConformance<Operation<mmr::Family,FixedEncoding<U64>>>",
			codec: codec(operation.Keyless, operation.Fixed, 8, 8), op: keylessOp},
		{name: "keyless::operation::tests::conformance::CodecConformance<Operation<mmr::Family,VariableEncoding<U64>>>",
			codec: codec(operation.Keyless, operation.Variable, 8, 8), op: keylessOp},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			vectors.Published(t, c.name).Check(t, func(dst []byte, seed uint64) []byte {
				start := len(dst)
				op := c.op(vectors.NewArbitrary(seed))
				dst, err := c.codec.Append(dst, op)
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return dst
				}
				back, err := c.codec.Decode(dst[start:])
				if err != nil || !equal(op, back) {
					t.Errorf("seed %d: decoded %+v, %v; want %+v", seed, back, err, op)
				}
				if c.part {
					end := len(dst)
					if c.codec.Size() > 0 {
						end = start + 1 + 8 + 8
					}
					return append(dst[:start], dst[start+1:end]...)
				}
				return dst
			})
		})
	}
}
