package space

import "github.com/prometheus/client_golang/prometheus"

var (
	descFree   = prometheus.NewDesc("proofsync_disk_free_bytes", "Bytes free on the volume of the storage directory.", nil, nil)
	descTotal  = prometheus.NewDesc("proofsync_disk_size_bytes", "Size of the volume of the storage directory.", nil, nil)
	descFloor  = prometheus.NewDesc("proofsync_disk_floor_bytes", "Bytes that have to stay free: below, writing is paused.", nil, nil)
	descPaused = prometheus.NewDesc("proofsync_disk_paused", "1 while writing is paused because the disk is nearly full, or something to be written does not fit.", nil, nil)
)

type collector struct{ g *Guard }

// Collector gives the guard's figures to a registry. Sizes are left out while
// they are not known.
func (g *Guard) Collector() prometheus.Collector { return collector{g} }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descFree, descTotal, descFloor, descPaused} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	s := c.g.State()
	if s.Known {
		gauge(descFree, float64(s.Free))
		gauge(descTotal, float64(s.Total))
		gauge(descFloor, float64(s.Floor))
	}
	paused := 0.0
	if s.Paused {
		paused = 1
	}
	gauge(descPaused, paused)
}
