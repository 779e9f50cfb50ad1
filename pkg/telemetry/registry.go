package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// NewRegistry returns a registry with what every process of ours exports: the
// Go runtime, the process and proofsync_build_info.
func NewRegistry(build BuildInfo) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{
		Name: "proofsync_build_info",
		Help: "Always 1; the labels say which program this is.",
	}, []string{"version", "commit", "goversion"}).WithLabelValues(build.Version, build.Commit, build.Go).Set(1)
	return reg
}
