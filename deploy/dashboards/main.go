// Command dashboards writes the Grafana dashboards of the chart:
//
//	go run ./deploy/dashboards helm/files/dashboards
//
// The four dashboards are described here, in types, and written as the JSON
// that Grafana imports. It knows nothing of a running Grafana.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards DIR")
		os.Exit(2)
	}
	for _, d := range all() {
		data, err := d.render()
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], d.UID+".json"), data, 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "dashboards: %v\n", err)
			os.Exit(1)
		}
	}
}

// render is the dashboard as Grafana imports it.
func (d dashboard) render() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(d)
	return out.Bytes(), err
}

func all() []dashboard { return []dashboard{overview(), server(), client(), witness()} }

// of selects series by the variables of every dashboard.
const of = `{namespace=~"$namespace", pod=~"$pod"}`

func overview() dashboard {
	return newDashboard("proofsync-overview", "proofsync / Overview", "proofsync_build_info",
		row("State"),
		stat("Replicas", "none", good, q(`count(proofsync_sync_lag_operations`+of+`)`, "")),
		stat("Worst lag", "short", bad(1000, 10000), q(`max(proofsync_sync_lag_operations`+of+`)`, "")),
		stat("Oldest sync", "s", bad(60, 900), q(`max(time() - proofsync_sync_last_success_timestamp_seconds`+of+`)`, "")),
		stat("Refuted answers", "none", bad(1, 1), q(`sum(increase(proofsync_sync_verification_failures_total`+of+`[$__range]))`, "")),
		stat("Forked", "none", bad(1, 1), q(`sum(proofsync_sync_forked`+of+`)`, "")),
		stat("Of another family", "none", bad(1, 1), q(`sum(proofsync_sync_mismatch`+of+`)`, "")),
		stat("Disks that are full", "none", bad(1, 1), q(`sum(proofsync_disk_paused`+of+`)`, "")),
		stat("Damaged", "none", bad(1, 1), q(`sum(proofsync_database_damaged`+of+`)`, "")),
		stat("Oldest signed target", "s", bad(1800, 3600), q(`max(proofsync_checkpoint_age_seconds`+of+`)`, "")),
		stat("No fresh checkpoint", "none", bad(1, 1), q(`sum(proofsync_checkpoint_stale`+of+`)`, "")),
		stat("Forks seen by witnesses", "none", bad(1, 1), q(`sum(proofsync_witness_refused_total{namespace=~"$namespace", pod=~"$pod", reason="fork"})`, "")),
		stat("First certificate ends in", "d", falling(7, 2), q(`min(proofsync_tls_expiry_timestamp_seconds`+of+` - time()) / 86400`, "")),
		row("In step"),
		series("Lag", "operations the replica does not have yet", "short", q(`proofsync_sync_lag_operations`+of, "{{pod}}")),
		series("Size of the log", "server, targets and replicas lie on one line when all is well", "short",
			q(`proofsync_database_operations`+of, "{{pod}}"), q(`max(proofsync_sync_target_size_operations`+of+`)`, "newest target")),
		series("Time since the last completed sync", "", "s", q(`time() - proofsync_sync_last_success_timestamp_seconds`+of, "{{pod}}")),
		series("Duration of a sync, 99 %", "", "s", q(`histogram_quantile(0.99, sum by (le, pod) (rate(proofsync_sync_duration_seconds_bucket`+of+`[$__rate_interval])))`, "{{pod}}")),
		row("Faults"),
		series("Failures by class", "local: our disk, wrong: refuted, slow, refused", "ops", q(`sum by (class) (rate(proofsync_sync_failures_total`+of+`[$__rate_interval]))`, "{{class}}")),
		series("Refuted answers", "a server lies or is broken, or the network alters data", "ops", q(`rate(proofsync_sync_verification_failures_total`+of+`[$__rate_interval])`, "{{pod}}")),
		row("Processes"),
		series("Memory", "", "bytes", q(`process_resident_memory_bytes`+of+` and on (namespace, pod) proofsync_build_info`, "{{pod}}")),
		series("CPU", "cores", "short", q(`rate(process_cpu_seconds_total`+of+`[$__rate_interval]) and on (namespace, pod) proofsync_build_info`, "{{pod}}")),
		table("Versions", q(`count by (version, commit, goversion) (proofsync_build_info`+of+`)`, "")),
		table("Roots", q(`proofsync_database_operations`+of, "size"), q(`proofsync_database_root_prefix`+of, "root, first 48 bits")),
	)
}

func server() dashboard {
	panels := []panel{
		row("Requests"),
		stat("Connections", "none", good, q(`sum(proofsync_serve_connections`+of+`)`, "")),
		stat("Operations in the log", "short", good, q(`max(proofsync_database_operations`+of+` and on (namespace, pod) proofsync_serve_connections)`, "")),
		stat("Database failures", "none", bad(1, 1), q(`sum(increase(proofsync_serve_database_failures_total`+of+`[$__range])) or vector(0)`, "")),
		series("Requests", "by type", "reqps", q(`sum by (type) (rate(proofsync_serve_requests_total`+of+`[$__rate_interval]))`, "{{type}}")),
		series("Errors answered", "by code", "reqps", q(`sum by (code) (rate(proofsync_serve_errors_total`+of+`[$__rate_interval])) or vector(0)`, "{{code}}")),
		series("Time to answer", "", "s",
			q(`histogram_quantile(0.5, sum by (le) (rate(proofsync_serve_request_duration_seconds_bucket`+of+`[$__rate_interval])))`, "50 %"),
			q(`histogram_quantile(0.99, sum by (le) (rate(proofsync_serve_request_duration_seconds_bucket`+of+`[$__rate_interval])))`, "99 %")),
		series("Operations sent", "", "ops", q(`rate(proofsync_serve_operations_total`+of+`[$__rate_interval])`, "{{pod}}")),
		series("Traffic", "", "Bps", q(`rate(proofsync_serve_sent_bytes_total`+of+`[$__rate_interval])`, "sent"), q(`rate(proofsync_serve_received_bytes_total`+of+`[$__rate_interval])`, "received")),
		series("In work", "", "short", q(`proofsync_serve_inflight_requests`+of, "requests"), q(`proofsync_serve_inflight_bytes`+of, "bytes of answers")),
		row("Connections"),
		series("Connections", "", "short", q(`proofsync_serve_connections`+of, "{{pod}}")),
		series("Ended and refused", "by reason", "ops", q(`sum by (reason) (rate(proofsync_serve_connections_closed_total`+of+`[$__rate_interval])) or vector(0)`, "{{reason}}"), q(`sum(rate(proofsync_serve_connections_rejected_total`+of+`[$__rate_interval]))`, "limit reached")),
		row("Log"),
		series("Size, floor and start", "operations between start and size are served", "short",
			q(`proofsync_database_operations`+of+` and on (namespace, pod) proofsync_serve_connections`, "size"),
			q(`proofsync_database_floor_location`+of+` and on (namespace, pod) proofsync_serve_connections`, "floor"),
			q(`proofsync_database_start_location`+of+` and on (namespace, pod) proofsync_serve_connections`, "start")),
		series("Demonstration operations", "", "ops", q(`rate(proofsync_generator_operations_total`+of+`[$__rate_interval])`, "{{pod}}")),
	}
	return newDashboard("proofsync-server", "proofsync / Server", "proofsync_serve_connections", slices.Concat(panels, pushed(), signing(), limits(), secrets("proofsync_serve_connections"), writes(), httpAPI("proofsync_serve_connections"), engine("proofsync_serve_connections"))...)
}

func client() dashboard {
	panels := []panel{
		row("Sync"),
		stat("Phase", "none", good, phase(q(`proofsync_sync_phase`+of+` == 1`, "{{phase}}"))),
		stat("Lag", "short", bad(1000, 10000), q(`max(proofsync_sync_lag_operations`+of+`)`, "")),
		stat("Failures in a row", "none", bad(3, 20), q(`max(proofsync_sync_consecutive_failures`+of+`)`, "")),
		stat("Stalled", "none", bad(1, 1), q(`sum(proofsync_sync_stalled`+of+`)`, "")),
		series("Target and local size", "", "short", q(`proofsync_sync_target_size_operations`+of, "target {{pod}}"), q(`proofsync_sync_local_size_operations`+of, "local {{pod}}")),
		series("Operations verified and stored", "", "ops", q(`rate(proofsync_sync_verified_operations_total`+of+`[$__rate_interval])`, "{{pod}}")),
		series("Duration of a sync", "", "s",
			q(`histogram_quantile(0.5, sum by (le) (rate(proofsync_sync_duration_seconds_bucket`+of+`[$__rate_interval])))`, "50 %"),
			q(`histogram_quantile(0.99, sum by (le) (rate(proofsync_sync_duration_seconds_bucket`+of+`[$__rate_interval])))`, "99 %"),
			q(`max(proofsync_sync_last_duration_seconds`+of+`)`, "longest last one")),
		series("Syncs", "begun and completed", "ops", q(`sum(rate(proofsync_sync_iterations_total`+of+`[$__rate_interval]))`, "begun"), q(`sum(rate(proofsync_sync_completed_total`+of+`[$__rate_interval]))`, "completed")),
		row("Requests"),
		series("Request to verified answer", "", "s", q(`histogram_quantile(0.99, sum by (le, pod) (rate(proofsync_sync_request_duration_seconds_bucket`+of+`[$__rate_interval])))`, "99 % {{pod}}")),
		series("Requests in flight", "", "short", q(`proofsync_sync_requests_in_flight`+of, "{{pod}}")),
		series("Bytes in flight", "", "bytes", q(`proofsync_sync_in_flight_bytes`+of, "{{pod}}")),
		series("Received", "", "Bps", q(`sum by (pod, peer) (rate(proofsync_source_received_bytes_total`+of+`[$__rate_interval]))`, "{{pod}} from {{peer}}")),
		row("Trust"),
		series("Refuted, forked, mismatched", "", "none", q(`proofsync_sync_verification_failures_total`+of, "refuted {{pod}}"), q(`proofsync_sync_forked`+of, "forked {{pod}}"), q(`proofsync_sync_mismatch`+of, "mismatched {{pod}}")),
		series("Rebuilds and missing links", "", "none", q(`proofsync_sync_rebuilds_total`+of, "rebuilds {{pod}}"), q(`proofsync_sync_quarantines_total`+of, "damaged and rebuilt {{pod}}"), q(`proofsync_sync_history_links_missing_total`+of, "links missing {{pod}}"), q(`proofsync_sync_target_regressions_total`+of, "targets that went back {{pod}}")),
	}
	return newDashboard("proofsync-client", "proofsync / Client", "proofsync_sync_iterations_total", slices.Concat(panels, sources(), followed(), secrets("proofsync_sync_iterations_total"), following(), httpAPI("proofsync_sync_iterations_total"), engine("proofsync_sync_iterations_total"))...)
}

// engine are the panels of storage engine and runtime, for the pods that have the metric.
func engine(having string) []panel {
	m := func(name string) string { return name + of + ` and on (namespace, pod) ` + having }
	rate := func(name string) string {
		return `rate(` + name + of + `[$__rate_interval]) and on (namespace, pod) ` + having
	}
	return []panel{
		row("Storage engine"),
		series("Disk", "", "bytes", q(m("proofsync_pebble_disk_usage_bytes"), "files {{pod}}"), q(m("proofsync_pebble_wal_bytes"), "log {{pod}}")),
		series("Volume", "writing pauses below the floor", "bytes", q(m("proofsync_disk_free_bytes"), "free {{pod}}"), q(m("proofsync_disk_floor_bytes"), "floor {{pod}}"), q(m("proofsync_disk_size_bytes"), "size {{pod}}")),
		series("Paused, damaged, set aside", "", "none", q(m("proofsync_disk_paused"), "paused {{pod}}"), q(m("proofsync_database_damaged"), "damaged {{pod}}"), q(m("proofsync_database_quarantined_total"), "set aside {{pod}}")),
		series("Levels", "", "bytes", q(m("proofsync_pebble_level_bytes"), "{{pod}} L{{level}}")),
		series("Block cache hits", "", "percentunit", q(`rate(proofsync_pebble_block_cache_hits_total`+of+`[$__rate_interval]) / (rate(proofsync_pebble_block_cache_hits_total`+of+`[$__rate_interval]) + rate(proofsync_pebble_block_cache_misses_total`+of+`[$__rate_interval])) and on (namespace, pod) `+having, "{{pod}}")),
		series("Compaction debt", "", "bytes", q(m("proofsync_pebble_compaction_debt_bytes"), "{{pod}}")),
		series("Compactions and flushes", "", "ops", q(rate("proofsync_pebble_compactions_total"), "compactions {{pod}}"), q(rate("proofsync_pebble_flushes_total"), "flushes {{pod}}")),
		series("Read amplification", "", "short", q(m("proofsync_pebble_read_amplification"), "{{pod}}")),
		row("Runtime"),
		series("Memory", "", "bytes", q(m("process_resident_memory_bytes"), "resident {{pod}}"), q(m("go_memstats_heap_inuse_bytes"), "heap {{pod}}"), q(m("proofsync_pebble_block_cache_bytes"), "block cache {{pod}}"), q(m("proofsync_pebble_memtable_bytes"), "memtables {{pod}}")),
		series("CPU", "cores", "short", q(rate("process_cpu_seconds_total"), "{{pod}}")),
		series("Goroutines", "", "short", q(m("go_goroutines"), "{{pod}}")),
		series("Open files", "", "short", q(m("process_open_fds"), "{{pod}}")),
		series("Collector pause, longest", "", "s", q(`max by (namespace, pod) (`+m("go_gc_duration_seconds")+`)`, "{{pod}}")),
		series("Allocations", "", "Bps", q(rate("go_memstats_alloc_bytes_total"), "{{pod}}")),
	}
}
