package main

// sources are the panels of the servers that a client asks, one line for each.
func sources() []panel {
	each := func(name string) target { return q(name+of, "{{pod}} from {{peer}}") }
	return []panel{
		row("Sources"),
		series("Throughput", "what each delivers while it has something to do; requests are spread by it", "Bps", each("proofsync_source_throughput_bytes_per_second")),
		series("Requests", "for operations and targets", "reqps", q(`sum by (pod, peer, type) (rate(proofsync_source_requests_total`+of+`[$__rate_interval]))`, "{{pod}} from {{peer}}, {{type}}")),
		series("Latency", "request to answer, the latest ones", "s", each("proofsync_source_latency_seconds")),
		series("Lies", "answers that were refuted, or of another history", "none", q(`sum by (pod, peer, verdict) (increase(proofsync_source_verdicts_total{namespace=~"$namespace", pod=~"$pod", verdict=~"lying|diverged"}[$__rate_interval]))`, "{{pod}} from {{peer}}, {{verdict}}")),
		series("Cool-down", "length of the latest pause for misbehaviour", "s", each("proofsync_source_cooldown_seconds")),
		series("Asked elsewhere", "requests sent again because somebody took too long", "ops", q(`sum by (pod, peer, result) (rate(proofsync_source_hedges_total`+of+`[$__rate_interval]))`, "{{pod}} from {{peer}}, {{result}}")),
		series("Connected", "1 while there is a connection", "none", each("proofsync_source_connected")),
		series("Verdicts", "what answers were found to be", "ops", q(`sum by (peer, verdict) (rate(proofsync_source_verdicts_total`+of+`[$__rate_interval]))`, "{{peer}} {{verdict}}")),
		series("Failures", "by reason", "ops", q(`sum by (peer, reason) (rate(proofsync_source_failures_total`+of+`[$__rate_interval])) or vector(0)`, "{{peer}} {{reason}}")),
	}
}

// followed are the panels of the signed targets of a client.
func followed() []panel {
	return []panel{
		row("Checkpoints"),
		series("Age of the target", "since the newest checkpoint that may be followed was signed", "s", q(`proofsync_checkpoint_age_seconds`+of, "{{pod}}")),
		series("Trusted signatures", "under that checkpoint", "none", q(`proofsync_checkpoint_followed_signatures`+of, "{{pod}}")),
		series("Refused", "no checkpoint could be followed, by what was wrong with the best one", "ops", q(`sum by (pod, reason) (rate(proofsync_checkpoint_refused_total`+of+`[$__rate_interval]))`, "{{pod}} {{reason}}")),
		series("Asked for", "by result; late: another place had a good one long before", "ops", q(`sum by (pod, result) (rate(proofsync_checkpoint_fetches_total`+of+`[$__rate_interval]))`, "{{pod}} {{result}}")),
		series("Stale, rolled back, epoch", "stale: none is fresh enough; a higher epoch declares that the log lost its end", "none",
			q(`proofsync_checkpoint_stale`+of, "stale {{pod}}"), q(`proofsync_sync_rollbacks_total`+of, "rollbacks {{pod}}"), q(`proofsync_checkpoint_followed_epoch`+of, "epoch {{pod}}")),
	}
}

// signing are the panels of a server that signs, and of the witnesses it asks.
func signing() []panel {
	return []panel{
		row("Checkpoints"),
		series("Time since the newest was signed", "an idle writer signs again every third of --max-target-age", "s",
			q(`time() - (proofsync_notary_last_signed_timestamp_seconds`+of+` > 0)`, "{{pod}}")),
		series("Signed and failed", "failures by reason", "ops",
			q(`rate(proofsync_notary_signed_total`+of+`[$__rate_interval])`, "signed {{pod}}"),
			q(`sum by (pod, reason) (rate(proofsync_notary_failures_total`+of+`[$__rate_interval]))`, "{{reason}} {{pod}}")),
		series("Signatures and keys", "signatures under the newest one so far; key file: 1 while it cannot be read", "none",
			q(`proofsync_notary_signatures`+of, "signatures {{pod}}"), q(`proofsync_notary_keys`+of, "keys {{pod}}"), q(`proofsync_notary_key_file_failing`+of, "key file fails {{pod}}")),
		series("Cosigned", "by witness", "ops", q(`sum by (pod, witness) (rate(proofsync_notary_cosignatures_total`+of+`[$__rate_interval]))`, "{{witness}}")),
		series("Not cosigned", "by witness and reason", "ops", q(`sum by (pod, witness, reason) (rate(proofsync_notary_witness_failures_total`+of+`[$__rate_interval]))`, "{{witness}} {{reason}}")),
		series("Time witnesses take, 99 %", "", "s", q(`histogram_quantile(0.99, sum by (le, witness) (rate(proofsync_notary_witness_seconds_bucket`+of+`[$__rate_interval])))`, "{{witness}}")),
	}
}

// secrets are the panels of TLS, for the pods that have the metric.
func secrets(having string) []panel {
	on := ` and on (namespace, pod) ` + having
	return []panel{
		row("TLS"),
		series("Days to expiry", "of the certificate, and of the first one in the CA bundle; the log warns a week before", "d", q(`(proofsync_tls_expiry_timestamp_seconds`+of+` - time()) / 86400`+on, "{{of}} {{pod}}")),
		series("Rejected handshakes", "by reason: those who connected to us, and servers that we refused", "ops", q(`sum by (pod, reason) (rate(proofsync_tls_handshake_failures_total`+of+`[$__rate_interval])`+on+`)`, "{{reason}} {{pod}}")),
		series("Files that cannot be used", "1 while what was in them before is used instead", "none", q(`proofsync_tls_files_rejected`+of+on, "{{of}} {{pod}}")),
	}
}

// limits are the panels of what a server allows its clients.
func limits() []panel {
	return []panel{
		row("Limits"),
		series("Clients that wait", "by limit, of one client or of all", "none", q(`sum by (limit, of) (proofsync_serve_limit_waiting`+of+`)`, "{{limit}}, of {{of}}")),
		series("Requests that had to wait", "", "reqps", q(`sum by (limit, of) (rate(proofsync_serve_limit_waits_total`+of+`[$__rate_interval]))`, "{{limit}}, of {{of}}")),
		series("Refused", "connections closed or turned away: waiting would have taken too long, or there are too many", "ops",
			q(`sum by (limit, of) (rate(proofsync_serve_limit_closed_total`+of+`[$__rate_interval]))`, "{{limit}}, of {{of}}"),
			q(`sum(rate(proofsync_serve_connections_rejected_total`+of+`[$__rate_interval]))`, "too many connections")),
		series("Used of what all may have", "at this moment; 0 without a limit", "percentunit", q(`max by (pod, limit) (proofsync_serve_limit_used_ratio`+of+`)`, "{{limit}} {{pod}}")),
		series("Clients known", "by certificate or address", "none", q(`proofsync_serve_clients`+of, "{{pod}}")),
	}
}

// witness is the dashboard of witnesses.
func witness() dashboard {
	const having = "proofsync_witness_cosigned_total"
	refusals := func(reasons string) string {
		return `proofsync_witness_refused_total{namespace=~"$namespace", pod=~"$pod", reason=~"` + reasons + `"}`
	}
	panels := []panel{
		row("Witness"),
		stat("Forks seen", "none", bad(1, 1), q(`sum(`+refusals("fork")+`)`, "")),
		stat("Rollbacks seen", "none", bad(1, 1), q(`sum(`+refusals("rollback")+`)`, "")),
		stat("Epochs declared", "none", bad(1, 2), q(`sum(proofsync_witness_epochs_total`+of+`)`, "")),
		stat("Age of the last", "s", good, q(`max(time() - (proofsync_witness_last_checkpoint_timestamp_seconds`+of+` > 0))`, "")),
		stat("Size of the log", "short", good, q(`max(proofsync_witness_size`+of+`)`, "")),
		stat("Epoch", "none", good, q(`max(proofsync_witness_epoch`+of+`)`, "")),
		series("Cosigned", "", "ops", q(`rate(proofsync_witness_cosigned_total`+of+`[$__rate_interval])`, "{{pod}}")),
		series("Refused", "by reason; fork and rollback are for people to look at", "ops", q(`sum by (pod, reason) (rate(proofsync_witness_refused_total`+of+`[$__rate_interval]))`, "{{reason}} {{pod}}")),
		series("Time to cosign", "checked, stored and signed", "s",
			q(`histogram_quantile(0.5, sum by (le) (rate(proofsync_witness_cosign_seconds_bucket`+of+`[$__rate_interval])))`, "50 %"),
			q(`histogram_quantile(0.99, sum by (le) (rate(proofsync_witness_cosign_seconds_bucket`+of+`[$__rate_interval])))`, "99 %")),
		series("Size of the log", "", "short", q(`proofsync_witness_size`+of, "{{pod}}")),
		series("Age of the last checkpoint", "since its writer signed it", "s", q(`time() - (proofsync_witness_last_checkpoint_timestamp_seconds`+of+` > 0)`, "{{pod}}")),
		series("Memory", "", "bytes", q(`process_resident_memory_bytes`+of+` and on (namespace, pod) `+having, "{{pod}}")),
	}
	return newDashboard("proofsync-witness", "proofsync / Witness", having, append(panels, secrets(having)...)...)
}
