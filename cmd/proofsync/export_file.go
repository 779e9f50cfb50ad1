package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/proofsync/proofsync/pkg/exporter"
)

// exportFormat is the format that was asked for, or the one that import would
// take a file of this name for.
func exportFormat(asked, file string) (exporter.Format, error) {
	name := exporter.JSONL
	switch ext := filepath.Ext(strings.TrimSuffix(strings.ToLower(file), ".gz")); {
	case ext == ".csv":
		name = exporter.CSV
	case ext == ".jsonl", ext == ".ndjson", file == "":
	case asked == "":
		return "", fmt.Errorf("--out %.200q: a name ending in .jsonl, .ndjson or .csv (and .gz), or --format, expected", file)
	}
	if asked == "" {
		return name, nil
	}
	f, err := exporter.ParseFormat(asked)
	if err != nil {
		return "", fmt.Errorf("--%w", err)
	}
	return f, nil
}

// writeFile lets write fill a file that gets its name when it is complete and
// durable. One that has the name is replaced.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.partial")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	to, finish := io.Writer(f), func() error { return nil }
	if strings.HasSuffix(strings.ToLower(path), ".gz") {
		z := gzip.NewWriter(f)
		to, finish = z, z.Close
	}
	if err = write(to); err == nil {
		err = finish()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
