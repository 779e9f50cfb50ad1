package store

import "github.com/prometheus/client_golang/prometheus"

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("proofsync_pebble_"+name, help, labels, nil)
}

var (
	descDisk        = desc("disk_usage_bytes", "Bytes of files the storage engine keeps.")
	descMemtable    = desc("memtable_bytes", "Memory of the storage engine's memtables.")
	descCache       = desc("block_cache_bytes", "Memory of cached blocks.")
	descCacheHits   = desc("block_cache_hits_total", "Blocks found in the cache.")
	descCacheMisses = desc("block_cache_misses_total", "Blocks read from files.")
	descCompactions = desc("compactions_total", "Compactions done.")
	descDebt        = desc("compaction_debt_bytes", "Estimated bytes to compact until the levels are in shape.")
	descFlushes     = desc("flushes_total", "Memtable flushes done.")
	descReadAmp     = desc("read_amplification", "Sorted runs a read may have to look at.")
	descLevelFiles  = desc("level_files", "Tables of a level.", "level")
	descLevelBytes  = desc("level_bytes", "Bytes of a level.", "level")
	descWAL         = desc("wal_bytes", "Bytes of live write-ahead log.")
	descWALWritten  = desc("wal_written_bytes_total", "Bytes written to the write-ahead log.")
	descIngested    = desc("ingested_tables_total", "Tables taken in around the write-ahead log.")
)

// DescribeMetrics sends the descriptions of what CollectMetrics sends.
func DescribeMetrics(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descDisk, descMemtable, descCache, descCacheHits, descCacheMisses, descCompactions, descDebt,
		descFlushes, descReadAmp, descLevelFiles, descLevelBytes, descWAL, descWALWritten, descIngested,
	} {
		ch <- d
	}
}

// CollectMetrics sends the storage engine's figures for this generation.
func (g *Generation) CollectMetrics(ch chan<- prometheus.Metric) {
	m := g.db.Metrics()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(descDisk, float64(m.DiskSpaceUsage()))
	gauge(descMemtable, float64(m.MemTable.Size))
	gauge(descCache, float64(m.BlockCache.Size))
	counter(descCacheHits, float64(m.BlockCache.Hits))
	counter(descCacheMisses, float64(m.BlockCache.Misses))
	counter(descCompactions, float64(m.Compact.Count))
	gauge(descDebt, float64(m.Compact.EstimatedDebt))
	counter(descFlushes, float64(m.Flush.Count))
	gauge(descReadAmp, float64(m.ReadAmp()))
	for i, l := range m.Levels {
		level := string(rune('0' + i))
		gauge(descLevelFiles, float64(l.TablesCount), level)
		gauge(descLevelBytes, float64(l.TablesSize), level)
	}
	gauge(descWAL, float64(m.WAL.Size))
	counter(descWALWritten, float64(m.WAL.BytesWritten))
	counter(descIngested, float64(m.Ingest.Count))
}
