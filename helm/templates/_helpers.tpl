{{/* Names, cut so that what is appended fits into 63 characters. */}}
{{- define "proofsync.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "proofsync.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "proofsync.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "proofsync.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "proofsync.image" -}}
{{- $i := .Values.image -}}
{{- if $i.digest -}}
{{- printf "%s@%s" $i.repository $i.digest -}}
{{- else -}}
{{- printf "%s:%s" $i.repository (default .Chart.AppVersion $i.tag) -}}
{{- end -}}
{{- end -}}

{{/* Labels. Selectors never change, so they have no version and nothing of commonLabels. */}}
{{- define "proofsync.selector" -}}
app.kubernetes.io/name: {{ include "proofsync.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .client }}
proofsync/client: {{ . }}
{{- end }}
{{- end -}}

{{- define "proofsync.labels" -}}
{{- $own := dict "app.kubernetes.io/part-of" "proofsync" "app.kubernetes.io/managed-by" .root.Release.Service "app.kubernetes.io/version" (.root.Chart.AppVersion | replace "+" "_") -}}
{{- /* Not on pods: they would restart for nothing. */ -}}
{{- if not .pod }}{{ $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") }}{{ end -}}
{{- $selector := dict "app.kubernetes.io/name" (include "proofsync.name" .root) "app.kubernetes.io/instance" .root.Release.Name -}}
{{- if .component }}{{ $selector = include "proofsync.selector" . | fromYaml }}{{ end -}}
{{- mergeOverwrite (dict) .root.Values.commonLabels (default (dict) .extra) $own $selector | toYaml -}}
{{- end -}}

{{- define "proofsync.metadata" -}}
name: {{ .name }}
namespace: {{ default .root.Release.Namespace .namespace }}
labels:
  {{- include "proofsync.labels" . | nindent 2 }}
{{- with mergeOverwrite (dict) .root.Values.commonAnnotations (default (dict) .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where this release's server answers: host:port. */}}
{{- define "proofsync.serverAddress" -}}
{{- $host := printf "%s-server.%s.svc" (include "proofsync.fullname" .) .Release.Namespace -}}
{{- with .Values.clusterDomain }}{{ $host = printf "%s.%s" $host . }}{{ end -}}
{{- printf "%s:%d" $host (int .Values.server.service.port) -}}
{{- end -}}

{{/* What listeners bind to: everything, IPv6 too where services may have it. */}}
{{- define "proofsync.host" -}}
{{- $s := .Values.server.service -}}
{{- if or (has "IPv6" $s.ipFamilies) (has $s.ipFamilyPolicy (list "PreferDualStack" "RequireDualStack")) -}}
::
{{- else -}}
0.0.0.0
{{- end -}}
{{- end -}}

{{- define "proofsync.ipFamilies" -}}
{{- with .Values.server.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.server.service.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* Bytes of a quantity such as 512Mi, 1.5Gi or 1e9. */}}
{{- define "proofsync.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := toString . -}}
{{- $unit := regexFind "(Ki|Mi|Gi|Ti|k|M|G|T)$" $text -}}
{{- mulf (float64 (trimSuffix $unit $text)) (float64 (get $units $unit)) | int64 -}}
{{- end -}}

{{/* A value as the text of a variable: whole numbers without exponent, lists with commas. */}}
{{- define "proofsync.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (float64 (int64 .)) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else if kindIs "slice" . -}}
{{- join "," . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* The variables of a settings map: opInterval is PROOFSYNC_OP_INTERVAL. */}}
{{- define "proofsync.env" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
- name: PROOFSYNC_{{ $key | snakecase | upper }}
  value: {{ include "proofsync.text" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* GOMEMLIMIT and GOMAXPROCS from the limits. */}}
{{- define "proofsync.goEnv" -}}
{{- $limits := default (dict) .limits -}}
{{- with $limits.memory }}
- name: GOMEMLIMIT
  value: {{ div (mul (include "proofsync.bytes" . | int64) 9) 10 | quote }}
{{- end }}
{{- if $limits.cpu }}
- name: GOMAXPROCS
  valueFrom:
    resourceFieldRef:
      resource: limits.cpu
      divisor: "1"
{{- end }}
{{- end -}}

{{- define "proofsync.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.securityContext }}
{{- if not (kindIs "invalid" .runAsUser) }}
runAsUser: {{ int64 .runAsUser }}
{{- end }}
{{- if not (kindIs "invalid" .runAsGroup) }}
runAsGroup: {{ int64 .runAsGroup }}
{{- end }}
{{- if not (kindIs "invalid" .fsGroup) }}
fsGroup: {{ int64 .fsGroup }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "proofsync.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/*
A pod of the server, of a client or of the witness: root, component, client (name
of the group), w (the workload's values), config (settings, complete), ports, volume
(volume of the data, null with a claim template), probes (false for a Job), command
(unless it is the component's program), args (before those of the values).
*/}}
{{- define "proofsync.pod" -}}
{{- $root := .root -}}
{{- $w := .w -}}
{{- /* The directory of the secret, not its files: those would never change. */ -}}
{{- $secrets := dict "keys" (default (dict) $w.keys) "tls" (dict "mountPath" $w.tls.mountPath "existingSecret" (include "proofsync.tlsSecret" .)) -}}
metadata:
  labels:
    {{- include "proofsync.labels" (dict "root" .root "component" .component "client" .client "pod" true "extra" $w.podLabels) | nindent 4 }}
  {{- with mergeOverwrite (dict) .root.Values.commonAnnotations $w.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "proofsync.serviceAccount" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if .restartPolicy }}
  restartPolicy: {{ .restartPolicy }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $w.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "proofsync.podSecurity" .root | nindent 4 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $w.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $w.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $w.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $w.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $w.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $w.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "proofsync.selector" . | fromYaml)) }}
    {{- range $w.topologySpreadConstraints }}
    - {{- toYaml (merge (dict) . $selector) | nindent 6 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "proofsync.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [{{ join ", " (default (list (printf "/usr/local/bin/%s" .component)) .command) }}]
      {{- with concat (default (list) .args) $w.extraArgs }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        {{- with include "proofsync.env" .config | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with include "proofsync.goEnv" $w.resources | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $w.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $w.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- range .ports }}
        - name: {{ .name }}
          containerPort: {{ .port }}
          protocol: TCP
        {{- end }}
      {{- if .probes }}
      startupProbe:
        httpGet: {path: /startupz, port: metrics}
        {{- toYaml $w.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: metrics}
        {{- toYaml $w.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        {{- toYaml $w.probes.readiness | nindent 8 }}
      {{- end }}
      {{- with $w.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "proofsync.containerSecurity" .root | nindent 8 }}
      # The last line of a process that cannot start is shown by kubectl describe.
      terminationMessagePolicy: FallbackToLogsOnError
      volumeMounts:
        - name: data
          mountPath: /data
        - name: tmp
          mountPath: /tmp
        {{- range $name := list "keys" "tls" }}
        {{- $s := get $secrets $name }}
        {{- if $s.existingSecret }}
        - name: {{ $name }}
          mountPath: {{ $s.mountPath }}
          readOnly: true
        {{- end }}
        {{- end }}
        {{- if (default (dict) $w.writes).existingSecret }}
        - name: writes
          mountPath: /etc/proofsync/writes
          readOnly: true
        {{- end }}
        {{- if (default (dict) $w.checkpoint).existingSecret }}
        - name: checkpoint
          mountPath: /etc/proofsync/checkpoint
          readOnly: true
        {{- end }}
        {{- with $w.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- with .volume }}
    - {{- toYaml (merge (dict "name" "data") .) | nindent 6 }}
    {{- end }}
    - name: tmp
      emptyDir: {}
    {{- range $name := list "keys" "tls" }}
    {{- $s := get $secrets $name }}
    {{- if $s.existingSecret }}
    - name: {{ $name }}
      secret:
        secretName: {{ $s.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- end }}
    {{- with default (dict) $w.writes }}
    {{- if .existingSecret }}
    - name: writes
      secret:
        secretName: {{ .existingSecret }}
        defaultMode: 0440
        items:
          - {key: {{ .key | quote }}, path: token}
    {{- end }}
    {{- end }}
    {{- with default (dict) $w.checkpoint }}
    {{- if .existingSecret }}
    - name: checkpoint
      secret:
        secretName: {{ .existingSecret }}
        defaultMode: 0440
        items:
          - {key: {{ .key | quote }}, path: key}
    {{- end }}
    {{- end }}
    {{- with $w.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* An emptyDir as a volume. */}}
{{- define "proofsync.emptyDir" -}}
{{- $e := dict -}}
{{- with .sizeLimit }}{{ $_ := set $e "sizeLimit" . }}{{ end -}}
{{- with .medium }}{{ $_ := set $e "medium" . }}{{ end -}}
{{- dict "emptyDir" $e | toYaml -}}
{{- end -}}

{{/* The spec of a claim. */}}
{{- define "proofsync.claim" -}}
accessModes: {{ toJson .accessModes }}
{{- if eq .storageClass "-" }}
storageClassName: ""
{{- else if .storageClass }}
storageClassName: {{ .storageClass }}
{{- end }}
{{- with .selectorLabels }}
selector:
  matchLabels:
    {{- toYaml . | nindent 4 }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}

{{/* The claim of a StatefulSet (root, component, persistence), and what becomes of it. */}}
{{- define "proofsync.claimTemplate" -}}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ .persistence.retention.whenDeleted }}
  whenScaled: {{ .persistence.retention.whenScaled }}
volumeClaimTemplates:
  # Nothing in here may change later, so there is no version in its labels.
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels:
        {{- include "proofsync.selector" . | nindent 8 }}
      {{- with .persistence.annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "proofsync.claim" .persistence | nindent 6 }}
{{- end -}}

{{/*
The settings of the server, complete. The last one is the time to stop in: it
follows from the pod's.
*/}}
{{- define "proofsync.serverConfig" -}}
{{- $w := .Values.server -}}
{{- $own := dict "host" (include "proofsync.host" .) "storageDir" "/data/db" "port" 8080 "metricsPort" 9090 "httpPort" 8081 "shutdownTimeout" (printf "%ds" (sub $w.terminationGracePeriodSeconds 5)) -}}
{{- if $w.writes.existingSecret }}{{ $_ := set $own "writeTokenFile" "/etc/proofsync/writes/token" }}{{ end -}}
{{- with $w.checkpoint -}}
{{- if .existingSecret -}}
{{- if not (or .origin $w.config.checkpointOrigin) }}{{ fail "server.checkpoint.origin: the name of the log is missing, such as example.org/orders" }}{{ end -}}
{{- $_ := set $own "checkpointKeyFile" "/etc/proofsync/checkpoint/key" -}}
{{- else if and (or .origin .witnesses) (not (include "proofsync.signs" $)) }}{{ fail "server.checkpoint.existingSecret: there is nothing to sign with; name the secret with the private key" }}{{ end -}}
{{- with .origin }}{{ $_ := set $own "checkpointOrigin" . }}{{ end -}}
{{- $witnesses := .witnesses -}}
{{- with include "proofsync.witnessURL" $ }}{{ $witnesses = append $witnesses . }}{{ end -}}
{{- with $witnesses }}{{ $_ := set $own "checkpointWitness" . }}{{ end -}}
{{- end -}}
{{- if .Values.tls.enabled -}}
{{- $own = merge $own (include "proofsync.tlsConfig" (dict "w" $w) | fromJson) (dict "tlsClientAuth" .Values.tls.clientAuth) -}}
{{- with .Values.tls.allow }}{{ $_ := set $own "tlsAllow" . }}{{ end -}}
{{- end -}}
{{- $config := mergeOverwrite $own $w.config -}}
{{- $_ := set $config "httpPort" (include "proofsync.httpPort" $config) -}}
{{- if and $w.writes.existingSecret (eq $config.httpPort "off") }}{{ fail "server.writes.existingSecret: nobody can write over HTTP, server.config.httpPort is off" }}{{ end -}}
{{- $config | toJson -}}
{{- end -}}

{{/* The port of the HTTP API as text, or off, which YAML reads as false. */}}
{{- define "proofsync.httpPort" -}}
{{- if has (toString .httpPort) (list "false" "off") -}}off{{- else -}}{{ include "proofsync.text" .httpPort }}{{- end -}}
{{- end -}}

{{/* What the services of both kinds may say beside their ports. */}}
{{- define "proofsync.serviceType" -}}
type: {{ .service.type }}
{{- with include "proofsync.ipFamilies" .root | trim }}
{{ . }}
{{- end }}
{{- with .service.loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .service.loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{ toJson . }}
{{- end }}
{{- with .service.externalTrafficPolicy }}
externalTrafficPolicy: {{ . }}
{{- end }}
{{- end -}}

{{/* The groups of clients, complete: each entry over `client`, with defaults and addresses. */}}
{{- define "proofsync.clients" -}}
{{- $root := . -}}
{{- $out := list -}}
{{- $names := dict -}}
{{- range $i, $entry := .Values.clients -}}
{{- if hasKey $names $entry.name }}{{ fail (printf "clients[%d].name: %q is taken by another group" $i $entry.name) }}{{ end -}}
{{- $_ := set $names $entry.name true -}}
{{- $w := mergeOverwrite (deepCopy $root.Values.client) (deepCopy $entry) -}}
{{- $persistence := dict "enabled" false "size" "8Gi" "storageClass" "" "accessModes" (list "ReadWriteOnce") "annotations" (dict) "selectorLabels" (dict) "keep" true "emptyDir" (dict "sizeLimit" "1Gi" "medium" "") -}}
{{- $_ := set $w "persistence" (mergeOverwrite $persistence (default (dict) $entry.persistence)) -}}
{{- if not (hasKey $w "replicas") }}{{ $_ := set $w "replicas" 1 }}{{ end -}}
{{- if and $w.persistence.enabled (ne (int $w.replicas) 1) }}{{ fail (printf "clients[%d].replicas: %q has a claim, so it has exactly one replica" $i $entry.name) }}{{ end -}}
{{- $own := dict "host" (include "proofsync.host" $root) "storageDir" "/data/db" "metricsPort" 9091 "httpPort" 8082 "shutdownTimeout" (printf "%ds" (sub $w.terminationGracePeriodSeconds 5)) -}}
{{- if $w.servers -}}
{{- $_ := set $own "server" $w.servers -}}
{{- else if $root.Values.server.enabled -}}
{{- $_ := set $own "server" (list (include "proofsync.serverAddress" $root)) -}}
{{- else if not $w.config.server -}}
{{- fail (printf "clients[%d].servers: %q has none to follow: server.enabled is false" $i $entry.name) -}}
{{- end -}}
{{- if $root.Values.server.enabled -}}
{{- with $root.Values.server.config.db }}{{ $_ := set $own "db" . }}{{ end -}}
{{- with $root.Values.server.config.encoding }}{{ $_ := set $own "encoding" . }}{{ end -}}
{{- end -}}
{{- if $root.Values.tls.enabled }}{{ $own = merge $own (include "proofsync.tlsConfig" (dict "w" $w) | fromJson) }}{{ end -}}
{{- $own = merge $own (include "proofsync.trustConfig" (dict "root" $root "w" $w "path" (printf "clients[%d].trust" $i)) | fromJson) -}}
{{- $_ := set $w "config" (mergeOverwrite $own $w.config) -}}
{{- $_ := set $w.config "httpPort" (include "proofsync.httpPort" $w.config) -}}
{{- /* Whether there is a service to read from. */ -}}
{{- $_ := set $w "http" (and $w.service.enabled (ne $w.config.httpPort "off") (ne (toString $w.config.once) "true")) -}}
{{- $out = append $out $w -}}
{{- end -}}
{{- dict "list" $out | toJson -}}
{{- end -}}

{{/* Whether this release's server signs checkpoints; empty: it does not. */}}
{{- define "proofsync.signs" -}}
{{- $s := .Values.server -}}
{{- if and $s.enabled (or $s.checkpoint.existingSecret $s.config.checkpointKeyFile $s.config.checkpointSignerCommand) -}}true{{- end -}}
{{- end -}}

{{/* The name of the log, as the server signs it. */}}
{{- define "proofsync.origin" -}}
{{- default .Values.server.checkpoint.origin .Values.server.config.checkpointOrigin -}}
{{- end -}}

{{/* Where the HTTP API of this release's server answers, without a path; empty: nowhere. */}}
{{- define "proofsync.serverURL" -}}
{{- $port := include "proofsync.httpPort" (merge (dict) .Values.server.config (dict "httpPort" 8081)) -}}
{{- if and .Values.server.enabled (ne $port "off") -}}
{{- $host := printf "%s://%s-server" (include "proofsync.scheme" .) (include "proofsync.fullname" .) -}}
{{- with .Values.server.service.httpPort -}}
{{- printf "%s.%s.svc:%d" $host $.Release.Namespace (int .) -}}
{{- else -}}
{{- printf "%s-headless.%s.svc:%s" $host $.Release.Namespace $port -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The settings of clients (root, w, path of the block) that follow signed targets, as JSON. */}}
{{- define "proofsync.trustConfig" -}}
{{- $root := .root -}}
{{- $path := .path -}}
{{- $own := dict -}}
{{- $t := default (dict) .w.trust -}}
{{- $keys := default (list) $t.keys -}}
{{- $quorum := int (default 1 $t.quorum) -}}
{{- if gt $quorum (max 1 (len $keys)) }}{{ fail (printf "%s.quorum: %d keys have to sign, and %s.keys has %d" $path $quorum $path (len $keys)) }}{{ end -}}
{{- if $keys -}}
{{- $own = dict "targetSource" "checkpoint" "trustedKey" $keys "quorum" $quorum -}}
{{- $elsewhere := or .w.servers (not $root.Values.server.enabled) -}}
{{- $origin := $t.origin -}}
{{- if not (or $origin $elsewhere) }}{{ $origin = include "proofsync.origin" $root }}{{ end -}}
{{- if not (or $origin .w.config.checkpointOrigin) }}{{ fail (printf "%s.origin: the name of the log is missing, such as example.org/orders" $path) }}{{ end -}}
{{- with $origin }}{{ $_ := set $own "checkpointOrigin" . }}{{ end -}}
{{- if $t.checkpoints -}}
{{- $_ := set $own "checkpoint" $t.checkpoints -}}
{{- else if not .w.config.checkpoint -}}
{{- if $elsewhere }}{{ fail (printf "%s.checkpoints: where are the checkpoints of a server elsewhere? http(s)://host:port/v1/checkpoint" $path) }}{{ end -}}
{{- if not (include "proofsync.signs" $root) }}{{ fail (printf "%s.keys: the server signs nothing; set server.checkpoint.existingSecret, or %s.checkpoints" $path $path) }}{{ end -}}
{{- $url := include "proofsync.serverURL" $root -}}
{{- if not $url }}{{ fail (printf "%s.checkpoints: server.config.httpPort is off, so checkpoints have to come from elsewhere" $path) }}{{ end -}}
{{- $_ := set $own "checkpoint" (printf "%s/v1/checkpoint%s" $url (ternary (printf "?signatures=%d" $quorum) "" (gt $quorum 1))) -}}
{{- end -}}
{{- end -}}
{{- $own | toJson -}}
{{- end -}}

{{- define "proofsync.dnsEgress" }}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
  {{- with .Values.networkPolicy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- define "proofsync.metricsIngress" }}
- ports:
    - {port: metrics, protocol: TCP}
  {{- with .Values.networkPolicy.metrics.from }}
  from:
    {{- toYaml . | nindent 4 }}
    # helm test
    - podSelector:
        matchLabels:
          {{- include "proofsync.selector" (dict "root" $ "component" "test") | nindent 10 }}
  {{- end }}
{{- end }}
{{- define "proofsync.httpIngress" }}
- ports:
    - {port: http, protocol: TCP}
  {{- with .from }}
  from:
    {{- toYaml . | nindent 4 }}
    # helm test
    - podSelector:
        matchLabels:
          {{- include "proofsync.selector" (dict "root" $.root "component" "test") | nindent 10 }}
    {{- if $.clients }}
    # for checkpoints
    - podSelector:
        matchLabels:
          {{- include "proofsync.selector" (dict "root" $.root "component" "client") | nindent 10 }}
    {{- end }}
  {{- end }}
{{- end }}

{{/* Names by which services are reached, as JSON: the full ones first, which identify a certificate. */}}
{{- define "proofsync.tlsNames" -}}
{{- $root := .root -}}
{{- $ns := .root.Release.Namespace -}}
{{- $out := list -}}
{{- range .services }}{{ $out = append $out (printf "%s.%s.svc" . $ns) }}{{ end -}}
{{- range $service := .services -}}
{{- $out = append $out (printf "%s.%s" $service $ns) -}}
{{- $out = append $out $service -}}
{{- with $root.Values.clusterDomain }}{{ $out = append $out (printf "%s.%s.svc.%s" $service $ns .) }}{{ end -}}
{{- end -}}
{{- dict "list" (append $out "localhost") | toJson -}}
{{- end -}}

{{/* The secret with the certificate of a workload (root, w, component); empty: none. */}}
{{- define "proofsync.tlsSecret" -}}
{{- $tls := .root.Values.tls -}}
{{- if .w.tls.existingSecret -}}
{{- .w.tls.existingSecret -}}
{{- else if $tls.enabled -}}
{{- default (printf "%s-%s-tls" (include "proofsync.fullname" .root) .component) $tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* The settings for the files of such a secret, as JSON; the path is w's. */}}
{{- define "proofsync.tlsConfig" -}}
{{- $path := .w.tls.mountPath -}}
{{- dict "tlsCertFile" (printf "%s/tls.crt" $path) "tlsKeyFile" (printf "%s/tls.key" $path) "tlsCaFile" (printf "%s/ca.crt" $path) | toJson -}}
{{- end -}}

{{/* http or https: what the HTTP ports speak. */}}
{{- define "proofsync.scheme" -}}
{{- if .Values.tls.enabled -}}https{{- else -}}http{{- end -}}
{{- end -}}
