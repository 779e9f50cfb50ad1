package app

import (
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
	return notary.New(notary.Options{
		DB: db, Signer: signer, Origin: string(cfg.CheckpointOrigin), MaxAge: cfg.MaxTargetAge.D(),
		Witnesses: cfg.CheckpointWitness, Client: sec.httpClient(), Logger: e.Log, Metrics: metrics,
	})
}
