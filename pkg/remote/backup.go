package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/proofsync/proofsync/pkg/document"
)

// maxBackupEvent bounds a line of the answer, in bytes.
const maxBackupEvent = 1 << 20

// Backup has the process behind a unix socket make a backup at path, which is
// absolute, as that process sees it, and must be missing or empty. It takes as
// long as it takes; progress, which may be nil, hears of bytes copied. Ending ctx
// calls the backup off. Over the network there is nothing of the kind.
func (c *Client) Backup(ctx context.Context, path string, progress func(done, total int64)) (*document.Backup, error) {
	req, err := c.request(ctx, http.MethodPost, "/local/backup?path="+url.QueryEscape(path), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxBackupEvent)
	for lines.Scan() {
		var e document.BackupEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", c.name, ErrAnswer, err)
		}
		switch {
		case e.Problem != nil:
			return nil, e.Problem
		case e.Backup != nil:
			return e.Backup, nil
		case progress != nil:
			progress(e.Done, e.Total)
		}
	}
	err = lines.Err()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if err == nil {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, bufio.ErrTooLong) {
		err = ErrTooLarge
	}
	return nil, fmt.Errorf("%s: answer broken off: %w", c.name, err)
}
