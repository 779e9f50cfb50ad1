{{/* The values of the witness, complete, as JSON; {} without one. */}}
{{- define "proofsync.witness" -}}
{{- /* A release of an older chart that is upgraded with --reuse-values has no such block. */ -}}
{{- $w := default (dict) .Values.witness -}}
{{- if not $w.enabled -}}
{}
{{- else -}}
{{- if not $w.persistence }}{{ fail "witness: its defaults are missing; upgrade with --reset-then-reuse-values, as --reuse-values knows only those of the older chart" }}{{ end -}}
{{- if not $w.existingSecret }}{{ fail "witness.existingSecret: there is nothing to sign with; name the secret with the private key of the witness (proofsync keys checkpoint)" }}{{ end -}}
{{- if not $w.trustedKeys }}{{ fail "witness.trustedKeys: whose checkpoints are signed? the public keys of the writer are missing" }}{{ end -}}
{{- $origin := default (include "proofsync.origin" .) $w.origin -}}
{{- if not $origin }}{{ fail "witness.origin: the name of the log is missing, such as example.org/orders" }}{{ end -}}
{{- if eq (empty $w.first) (not $w.firstUse) }}{{ fail "witness.first, witness.firstUse: one of the two says where a new witness begins" }}{{ end -}}
{{- $servers := $w.servers -}}
{{- if .Values.server.enabled -}}
{{- if not (include "proofsync.signs" .) }}{{ fail "witness.enabled: the server of this release signs nothing; set server.checkpoint.existingSecret" }}{{ end -}}
{{- with .Values.server.checkpoint -}}
{{- if and (eq .existingSecret $w.existingSecret) (eq .key $w.key) }}{{ fail "witness.existingSecret: that is the writer's own key, whose signature is there already" }}{{ end -}}
{{- end -}}
{{- if not $servers }}{{ $servers = list (include "proofsync.serverAddress" .) }}{{ end -}}
{{- else if not $servers -}}
{{- fail "witness.servers: where do proofs come from? server.enabled is false" -}}
{{- end -}}
{{- range $i, $client := .Values.clients -}}
{{- if eq $client.name "witness" }}{{ fail (printf "clients[%d].name: \"witness\" is taken by the witness" $i) }}{{ end -}}
{{- end -}}
{{- $own := dict "origin" $origin "servers" $servers "checkpoint" (dict "existingSecret" $w.existingSecret "key" $w.key) -}}
{{- if $w.first -}}
{{- $name := printf "%s-witness-first" (include "proofsync.fullname" .) -}}
{{- $_ := set $own "extraVolumes" (prepend $w.extraVolumes (dict "name" "first" "configMap" (dict "name" $name))) -}}
{{- $_ := set $own "extraVolumeMounts" (prepend $w.extraVolumeMounts (dict "name" "first" "mountPath" "/etc/proofsync/first" "readOnly" true)) -}}
{{- end -}}
{{- mergeOverwrite (deepCopy $w) $own | toJson -}}
{{- end -}}
{{- end -}}

{{/* Where the witness of this release takes checkpoints; empty without one. */}}
{{- define "proofsync.witnessURL" -}}
{{- with include "proofsync.witness" . | fromJson -}}
{{- if .enabled -}}
{{- $host := printf "%s-witness.%s.svc" (include "proofsync.fullname" $) $.Release.Namespace -}}
{{- with $.Values.clusterDomain }}{{ $host = printf "%s.%s" $host . }}{{ end -}}
{{- printf "%s://%s:%d" (include "proofsync.scheme" $) $host (int .service.port) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Its arguments, from its values (root, w). */}}
{{- define "proofsync.witnessArgs" -}}
{{- $w := .w -}}
{{- $host := include "proofsync.host" .root -}}
{{- if contains ":" $host }}{{ $host = printf "[%s]" $host }}{{ end -}}
{{- $args := list "--key-file=/etc/proofsync/checkpoint/key" (printf "--origin=%s" $w.origin) -}}
{{- range $w.trustedKeys }}{{ $args = append $args (printf "--trusted-key=%s" .) }}{{ end -}}
{{- range $w.servers }}{{ $args = append $args (printf "--server=%s" .) }}{{ end -}}
{{- $args = concat $args (list "--state=/data/witness.state" (printf "--listen=%s:8083" $host) (printf "--metrics-listen=%s:9092" $host)) -}}
{{- $args = append $args (ternary "--first=/etc/proofsync/first/note" "--first-use" (not (empty $w.first))) -}}
{{- $args = concat $args (list (printf "--max-target-age=%s" $w.maxTargetAge) "--log-format=json" (printf "--log-level=%s" $w.logLevel)) -}}
{{- dict "list" $args | toJson -}}
{{- end -}}
