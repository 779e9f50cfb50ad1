package main

// httpAPI are the panels of the HTTP API, which servers and clients have, for the
// pods that have the metric.
func httpAPI(having string) []panel {
	on := ` and on (namespace, pod) ` + having
	sum := func(by, name string) string {
		return `sum by (` + by + `) (rate(` + name + of + `[$__rate_interval])` + on + `)`
	}
	quantile := func(share string) string {
		return `histogram_quantile(` + share + `, ` + sum("le, route", "proofsync_http_request_duration_seconds_bucket") + `)`
	}
	return []panel{
		row("HTTP API"),
		series("Requests by route", "", "reqps", q(sum("route", "proofsync_http_requests_total"), "{{route}}")),
		series("Requests by class of status", "none: the connection ended before there was an answer", "reqps", q(sum("code", "proofsync_http_requests_total"), "{{code}}")),
		series("Time to answer, half", "without watch streams", "s", q(quantile("0.5"), "{{route}}")),
		series("Time to answer, 99 %", "without watch streams", "s", q(quantile("0.99"), "{{route}}")),
		series("In work", "watch streams included", "short", q(`proofsync_http_inflight_requests`+of+on, "{{pod}}")),
		series("Refused", "by limit, and for a wrong token", "reqps",
			q(`(`+sum("limit", "proofsync_http_refused_total")+`) or vector(0)`, "{{limit}}"),
			q(sum("pod", "proofsync_http_unauthorized_total"), "wrong token {{pod}}")),
		series("Database failures and panics", "", "reqps",
			q(sum("kind", "proofsync_http_database_failures_total"), "{{kind}}"),
			q(sum("pod", "proofsync_http_panics_total"), "panic {{pod}}")),
		series("Bytes sent", "after compression", "Bps", q(sum("route", "proofsync_http_response_bytes_total"), "{{route}}")),
		series("Watchers", "", "short", q(`proofsync_http_watchers`+of+on, "{{pod}}")),
		series("Watch events", "by type", "ops", q(sum("event", "proofsync_http_watch_events_total"), "{{event}}")),
		series("Watch streams ended", "by reason; slow: the client did not read fast enough", "ops", q(sum("reason", "proofsync_http_watch_ended_total"), "{{reason}}")),
		series("Changes read for watchers", "", "ops",
			q(sum("pod", "proofsync_http_watch_spans_made_total"), "read {{pod}}"),
			q(sum("pod", "proofsync_http_watch_spans_shared_total"), "shared {{pod}}")),
	}
}

// writes are the panels of batches handed in to a server.
func writes() []panel {
	rate := func(name string) string { return `rate(` + name + of + `[$__rate_interval])` }
	return []panel{
		row("Writes"),
		series("Writes and commits", "", "ops",
			q(`sum(`+rate("proofsync_http_writes_total")+` and on (namespace, pod) proofsync_committer_commits_total)`, "writes by HTTP"),
			q(`sum(`+rate("proofsync_committer_commits_total")+`)`, "commits"),
			q(`sum(`+rate("proofsync_committer_replayed_total")+`)`, "batches known already")),
		series("Batches in a commit", "mean", "short", q(`sum by (pod) (`+rate("proofsync_committer_commit_batches_sum")+`) / sum by (pod) (`+rate("proofsync_committer_commit_batches_count")+`)`, "{{pod}}")),
		series("Time of a commit", "until it is durable and readable", "s",
			q(`histogram_quantile(0.5, sum by (le) (`+rate("proofsync_committer_commit_seconds_bucket")+`))`, "50 %"),
			q(`histogram_quantile(0.99, sum by (le) (`+rate("proofsync_committer_commit_seconds_bucket")+`))`, "99 %")),
		series("Not committed", "batches, by reason", "ops", q(`sum by (reason) (`+rate("proofsync_committer_refused_total")+`)`, "{{reason}}")),
		series("Waiting", "", "short", q(`proofsync_committer_waiting_batches`+of, "batches {{pod}}"), q(`proofsync_http_write_streams`+of+` and on (namespace, pod) proofsync_committer_waiting_batches`, "streams {{pod}}")),
	}
}

// pushed are the panels of a server's subscribers.
func pushed() []panel {
	return []panel{
		row("Following"),
		series("Subscribers", "connections that are told of new targets", "short", q(`proofsync_serve_subscribers`+of, "{{pod}}")),
		series("Targets pushed", "left out: a newer one was there by then", "ops",
			q(`rate(proofsync_serve_pushes_total`+of+`[$__rate_interval])`, "pushed {{pod}}"),
			q(`rate(proofsync_serve_pushes_coalesced_total`+of+`[$__rate_interval])`, "left out {{pod}}")),
	}
}

// following are the panels of a client that is told of new targets.
func following() []panel {
	bucket := `rate(proofsync_sync_follow_duration_seconds_bucket` + of + `[$__rate_interval])`
	return []panel{
		row("Following"),
		series("Pushed target to readable root", "", "s",
			q(`histogram_quantile(0.5, sum by (le) (`+bucket+`))`, "50 %"),
			q(`histogram_quantile(0.99, sum by (le, pod) (`+bucket+`))`, "99 % {{pod}}")),
		series("Servers that push", "1 while the server does; the sync interval is for those that do not", "none", q(`proofsync_source_following`+of, "{{pod}} from {{peer}}")),
		series("Targets pushed", "", "ops", q(`rate(proofsync_source_pushes_total`+of+`[$__rate_interval])`, "{{pod}} from {{peer}}")),
	}
}
