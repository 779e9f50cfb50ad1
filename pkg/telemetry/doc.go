// Package telemetry is what an operator sees of a process: log lines, metrics
// and probes. It holds the means only; what is logged, measured and probed is
// decided by the packages that know, and handed in.
//
//	packages --slog--> Handler --> standard error
//	packages --promauto--> Registry --> /metrics
//	checks (Probe) --> /livez /readyz /startupz
//
// The three probes answer three questions. /livez: does the process turn over?
// Nothing outside the process may make it fail, or an outage elsewhere restarts
// every pod. /readyz: may it receive traffic? /startupz: has it come up at all?
package telemetry
