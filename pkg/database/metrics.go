package database

import (
	"encoding/binary"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

var (
	descSize       = prometheus.NewDesc("proofsync_database_operations", "Operations in the log (its size), retained or not.", nil, nil)
	descFloor      = prometheus.NewDesc("proofsync_database_floor_location", "Inactivity floor: location below which no operation is live.", nil, nil)
	descStart      = prometheus.NewDesc("proofsync_database_start_location", "First retained location.", nil, nil)
	descRoot       = prometheus.NewDesc("proofsync_database_root_prefix", "First 48 bits of the root, as a number: logs of the same size are the same log only if these are equal.", nil, nil)
	descStored     = prometheus.NewDesc("proofsync_database_stored_operations", "End of what is stored and verified, readable or not, in the generation in use.", nil, nil)
	descGeneration = prometheus.NewDesc("proofsync_database_generation", "Number of the generation in use.", nil, nil)
	descEpoch      = prometheus.NewDesc("proofsync_epoch", "Epoch of the storage directory: a higher one than before says that its log may lack commits that were acknowledged earlier.", nil, nil)
	descStaged     = prometheus.NewDesc("proofsync_database_staged_operations", "Operations stored in a generation that is in the making; 0: there is none.", nil, nil)
)

var (
	descDamaged     = prometheus.NewDesc("proofsync_database_damaged", "1 while stored data is known to be damaged.", nil, nil)
	descSetAside    = prometheus.NewDesc("proofsync_database_quarantine_held", "Damaged databases that were set aside and still lie below quarantine in the storage directory.", nil, nil)
	descQuarantined = prometheus.NewDesc("proofsync_database_quarantined_total", "Times that damaged data was set aside.", nil, nil)
)

type collector struct{ d *DB }

// Collector gives the database's figures, and its storage engine's, to a
// registry. What is not there, as before a replica's first sync, is left out.
func (d *DB) Collector() prometheus.Collector { return collector{d} }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSize, descFloor, descStart, descRoot, descStored, descGeneration, descStaged, descEpoch, descDamaged, descSetAside, descQuarantined} {
		ch <- d
	}
	store.DescribeMetrics(ch)
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	l := c.d.Loads()
	gauge(descStaged, l.StagedEnd-l.StagedStart)
	gauge(descEpoch, c.d.Epoch())
	c.d.mu.Lock()
	damaged, quarantined := c.d.damage != nil, c.d.quarantined
	c.d.mu.Unlock()
	if damaged {
		gauge(descDamaged, 1)
	} else {
		gauge(descDamaged, 0)
	}
	if n, err := c.d.dir.SetAside(); err == nil {
		gauge(descSetAside, uint64(n))
	}
	ch <- prometheus.MustNewConstMetric(descQuarantined, prometheus.CounterValue, float64(quarantined))
	v, err := c.d.View()
	if err != nil {
		return
	}
	defer v.Close()
	gauge(descSize, v.Size())
	gauge(descFloor, v.Floor())
	gauge(descStart, v.Start())
	gauge(descRoot, rootPrefix(v.Root()))
	gauge(descStored, l.Stored)
	gauge(descGeneration, v.gen.Number())
	v.gen.CollectMetrics(ch)
}

// rootPrefix is as much of a root as a sample's value holds exactly.
func rootPrefix(root mmr.Digest) uint64 { return binary.BigEndian.Uint64(root[:8]) >> 16 }
