package app

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/notary"
)

// newNotary makes what signs the commits of a server; nil: nobody asked for it.
func newNotary(cfg *config.Server, sec *security, db *database.DB, reg prometheus.Registerer, e exits) (*notary.Notary, error) {
	metrics := notary.NewMetrics(reg)
	var signer notary.Signer
	var err error
	switch {
	case cfg.CheckpointKeyFile != "":
		if signer, err = notary.OpenKeyFile(string(cfg.CheckpointKeyFile), e.Log, metrics); err != nil {
			return nil, fmt.Errorf("--checkpoint-key-file: %w", err)
		}
	case cfg.CheckpointSigner != "":
		if signer, err = notary.NewCommand(string(cfg.CheckpointSigner), 0); err != nil {
			return nil, fmt.Errorf("--checkpoint-signer-command: %w", err)
		}
	default:
		return nil, nil
	}
	path := cmp.Or(string(cfg.CheckpointState), db.SignedPath())
	memory, err := notary.OpenMemory(path, string(cfg.CheckpointOrigin))
	if err != nil {
		return nil, fmt.Errorf("--checkpoint-state-file: %w", err)
	}
	n, err := notary.New(notary.Options{
		DB: db, Memory: memory, Signer: signer, Origin: string(cfg.CheckpointOrigin), MaxAge: cfg.MaxTargetAge.D(),
		Witnesses: cfg.CheckpointWitness, Client: sec.httpClient(), Logger: e.Log, Metrics: metrics,
	})
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	return n, nil
}
