package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/mmr"
)

func newGet() *cobra.Command {
	var (
		dir                            string
		isHex, isBase64, asJSON, asRaw bool
	)
	cmd := &cobra.Command{
		Use:   "get --storage-dir DIR KEY",
		Short: "read one key of a database",
		Long: `Read the newest value of a key from a storage directory of a server or a client
that no process holds.

KEY is found as import stores it: in the encoding fixed it is hashed with SHA-256,
unless it is given by --hex or --base64 and has exactly 32 bytes.`,
		Example: `  proofsync get -d ./data alice
  proofsync get -d ./data --hex 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90
  proofsync get -d ./docs --raw README.md > README.md`,
		Args: exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := requireStorage(dir); err != nil {
				return err
			}
			if asRaw && asJSON {
				return usagef("--raw and --json exclude each other")
			}
			key, err := parseKey(args[0], isHex, isBase64)
			if err != nil {
				return err
			}
			db, err := openRead(dir, nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			view, err := db.View()
			if err != nil {
				return fmt.Errorf("directory %s: %w", dir, err)
			}
			defer view.Close()
			stored := importer.StoredKey(db.Codec(), key, isHex || isBase64)
			entry, err := view.Get(stored)
			if errors.Is(err, database.ErrKeyNotFound) {
				return fmt.Errorf("%w: %.200q at size %d, root %s", err, args[0], view.Size(), view.Root())
			}
			if err != nil {
				return err
			}
			switch {
			case asRaw:
				_, err = cmd.OutOrStdout().Write(entry.Value)
			case asJSON:
				err = printJSON(cmd.OutOrStdout(), newGetReport(stored, entry, view))
			default:
				t := newTable(cmd.OutOrStdout())
				t.row("value", readable(entry.Value))
				t.row("location", entry.Location)
				t.row("size", view.Size())
				t.row("root", view.Root())
				err = t.flush()
			}
			return err
		},
	}
	storageFlag(cmd, &dir)
	cmd.Flags().BoolVar(&isHex, "hex", false, "KEY is bytes in hexadecimal")
	cmd.Flags().BoolVar(&isBase64, "base64", false, "KEY is bytes in base64")
	cmd.Flags().BoolVar(&asRaw, "raw", false, "print the bytes of the value and nothing else")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func parseKey(s string, isHex, isBase64 bool) ([]byte, error) {
	switch {
	case isHex && isBase64:
		return nil, usagef("--hex and --base64 exclude each other")
	case isHex:
		key, err := hex.DecodeString(s)
		if err != nil {
			return nil, usagef("KEY %.80q: hexadecimal digits expected", s)
		}
		return key, nil
	case isBase64:
		key, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, usagef("KEY %.80q: base64 (standard alphabet, padded) expected", s)
		}
		return key, nil
	}
	return []byte(s), nil
}

// getReport is what get prints as JSON. Value is there for text only.
type getReport struct {
	Key         string     `json:"key_base64"` // as stored
	ValueBase64 []byte     `json:"value_base64"`
	Value       *string    `json:"value,omitempty"`
	Location    uint64     `json:"location"`
	Size        uint64     `json:"size"`
	Root        mmr.Digest `json:"root"`
}

func newGetReport(key []byte, e database.Entry, v *database.View) getReport {
	r := getReport{
		Key: base64.StdEncoding.EncodeToString(key), ValueBase64: append([]byte{}, e.Value...),
		Location: e.Location, Size: v.Size(), Root: v.Root(),
	}
	if utf8.Valid(e.Value) {
		s := string(e.Value)
		r.Value = &s
	}
	return r
}

// readable is text as it is, if a terminal can show it, and anything else in hexadecimal.
func readable(b []byte) string {
	if !utf8.Valid(b) {
		return hex.EncodeToString(b)
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return hex.EncodeToString(b)
		}
	}
	return string(b)
}
