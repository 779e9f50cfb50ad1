package main

import (
	"context"
	"math"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/remote"
)

// maxPage is the largest page the API gives.
const maxPage = 10_000

func newList() *cobra.Command {
	var (
		at            access
		out           output
		keys          notation
		prefix, after string
		limit         uint64
		o             remote.ListOptions
	)
	cmd := &cobra.Command{
		Use:   "list (--url URL | --storage-dir DIR)",
		Short: "list keys in order",
		Long: `List the keys that have a value, in bytewise order and all under one root,
however long it takes and whatever is written meanwhile.

In the encoding fixed the keys are digests: --prefix is then bytes, by --hex or
--base64. --after goes on behind a key, which need not be there; as import does,
the encoding fixed hashes it unless it is 32 bytes given by --hex or --base64.`,
		Example: `  proofsync list -u http://127.0.0.1:8081 --prefix user/ --values
  proofsync list -d ./data --limit 100 --after user/7
  proofsync list -d ./data --hex --prefix 2bd8
  proofsync list -u http://replica:8082 --values --bytes utf8 --output json | jq -r .value`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := keys.parse("--after", after)
			if err != nil {
				return err
			}
			begin, err := keys.parse("--prefix", prefix)
			if err != nil {
				return err
			}
			return at.with(cmd, reading, func(ctx context.Context, s *session) error {
				if cmd.Flags().Changed("after") {
					if o.After, err = s.stored(ctx, from); err != nil {
						return err
					}
				}
				if cmd.Flags().Changed("prefix") {
					c, err := s.database(ctx)
					if err != nil {
						return err
					}
					if c.Encoding() == operation.Fixed && !begin.raw {
						return usagef("--prefix %.80q: keys of the encoding fixed are digests; --hex or --base64 expected", prefix)
					}
					o.Prefix = begin.bytes
				}
				o.Limit = pageSize(limit)
				return printList(ctx, cmd, s, o, limit, out.json)
			})
		},
	}
	at.register(cmd)
	keys.register(cmd, "", "--prefix and --after")
	cmd.Flags().StringVar(&prefix, "prefix", "", "keys that begin like this")
	cmd.Flags().StringVar(&after, "after", "", "keys behind this one")
	cmd.Flags().Uint64VarP(&limit, "limit", "n", 0, "most keys; 0: all")
	cmd.Flags().BoolVar(&o.Values, "values", false, "print the values too")
	cmd.Flags().Uint64Var(&o.AtSize, "at-size", 0, "read at the commit of this size instead of the newest state")
	out.register(cmd, "an entry of the API a line, with the root it was read under")
	return cmd
}

func printList(ctx context.Context, cmd *cobra.Command, s *session, o remote.ListOptions, limit uint64, json bool) error {
	lines := jsonLines(cmd.OutOrStdout())
	t := newRows(cmd.OutOrStdout(), "KEY", "LOCATION")
	if o.Values {
		t = newRows(cmd.OutOrStdout(), "KEY", "LOCATION", "VALUE")
	}
	n := uint64(0)
	for e, err := range s.List(ctx, o) {
		if err != nil {
			return errorAfter(t, err)
		}
		switch {
		case json:
			err = lines.Encode(e)
		case o.Values:
			err = t.row(s.show(e.Key), e.Location, s.showIf(e.Value))
		default:
			err = t.row(s.show(e.Key), e.Location)
		}
		if err != nil {
			return err
		}
		if n++; n == limit {
			break
		}
	}
	if json {
		return nil
	}
	return t.flush()
}

// pageSize is that for a number of elements; 0: all.
func pageSize(limit uint64) int {
	if limit == 0 {
		limit = math.MaxUint64
	}
	return int(min(limit, maxPage))
}
