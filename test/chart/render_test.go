package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLint: helm has nothing to say, warnings included.
func TestLint(t *testing.T) {
	for name, args := range examples(t) {
		if out, msg, ok := run(t, nil, tool(t, "helm"), append([]string{"lint", "--strict", filepath.Join(root, "helm")}, args...)...); !ok {
			t.Errorf("%s: %s%s", name, out, msg)
		}
	}
}

// TestObjectsAreValid: Kubernetes and the monitoring operator know every field.
func TestObjectsAreValid(t *testing.T) {
	kubeconform, schemas := tool(t, "kubeconform"), os.Getenv("KUBECONFORM_SCHEMAS")
	if schemas == "" {
		if os.Getenv("CHART_TOOLS") == "required" {
			t.Fatal("KUBECONFORM_SCHEMAS is not set")
		}
		t.Skip("needs KUBECONFORM_SCHEMAS, where kubeconform finds its schemas")
	}
	flags := []string{"-strict", "-schema-location", schemas}
	if certificates := certificateSchema(t); certificates != "" {
		flags = append(flags, "-schema-location", certificates)
	} else {
		t.Log("NOT CHECKED: Certificates, for lack of CERT_MANAGER_CRD")
		flags = append(flags, "-skip", "Certificate")
	}
	// All at once: reading the schemas takes longer than using them.
	dir := t.TempDir()
	for name, args := range examples(t) {
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, []byte(render(t, args...)), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, file)
	}
	if out, msg, ok := run(t, nil, kubeconform, flags...); !ok {
		t.Errorf("%s%s", out, msg)
	}
}

// TestWrongValuesAreRefused: at installation, with the path of the value.
func TestWrongValuesAreRefused(t *testing.T) {
	const claim = `clients=[{"name":"a","replicas":2,"persistence":{"enabled":true}}]`
	for _, c := range []struct{ set, path string }{
		{"serverr.enabled=true", "serverr"},
		{"server.persistence.sise=1Gi", "/server/persistence"},
		{"server.persistence.size=lots", "/server/persistence/size"},
		{"server.config.opIntervall=1s", "/server/config"},
		{"server.config.opInterval=fast", "/server/config/opInterval"},
		{"server.config.opInterval=1", "/server/config/opInterval"},
		{"server.config.initialOps=-1", "/server/config/initialOps"},
		{"server.config.maxOpsPerResponse=10001", "/server/config/maxOpsPerResponse"},
		{"server.config.db=keyless", "/server/config/db"},
		{"server.config.port=0", "/server/config/port"},
		{"server.config.cacheSize=32MB", "/server/config/cacheSize"},
		{"server.config.httpPort=on", "/server/config/httpPort"},
		{"server.config.httpPort=0", "/server/config/httpPort"},
		{"server.config.httpMaxBody=16MB", "/server/config/httpMaxBody"},
		{"server.config.httpCorsOrigins[0]=example.org", "/server/config/httpCorsOrigins"},
		{"server.config.httpCorsOrigins=https://example.org/", "/server/config/httpCorsOrigins"},
		{"server.config.idempotencyTime=10", "/server/config/idempotencyTime"},
		{"server.config.writeTokenFile=token", "/server/config/writeTokenFile"},
		{"server.config.follow=true", "/server/config"},
		{"server.writes.token=secret", "/server/writes"},
		{"server.writes.existingSecret=Upper", "/server/writes/existingSecret"},
		{"server.writes.key=a/b", "/server/writes/key"},
		{"server.service.httpPort=70000", "/server/service/httpPort"},
		{"client.config.follow=yes", "/client/config/follow"},
		{"client.config.httpMaxBody=1MiB", "/client/config"},
		{"client.config.httpRate=-1", "/client/config/httpRate"},
		{"client.service.type=ExternalName", "/client/service/type"},
		{"client.service.httpPort=80", "/client/service"},
		{"client.service.sessionAffinity=Cookie", "/client/service/sessionAffinity"},
		{"client.writes.existingSecret=a", "/client"},
		{"clients[0].name=a,clients[0].service.port=0", "/clients/0/service/port"},
		{"clients[0].name=a-headless", "/clients/0/name"},
		{"networkPolicy.server.http.form=x", "/networkPolicy/server/http"},
		{"networkPolicy.client.http.from[0].podSelektor=x", "/networkPolicy/client/http/from/0"},
		{"server.replicas=2", "/server"},
		{"server.resources.limits.memory=1GiB", "/server/resources/limits/memory"},
		{"server.resources.limit.memory=1Gi", "/server/resources"},
		{"server.probes.readiness.period=1", "/server/probes/readiness"},
		{"server.service.port=70000", "/server/service/port"},
		{"server.service.type=ExternalName", "/server/service/type"},
		{"server.terminationGracePeriodSeconds=5", "/server/terminationGracePeriodSeconds"},
		{"server.extraVolumes[0].name=a,server.extraVolumes[0].hostPath.path=/", "/server/extraVolumes/0"},
		{"server.tolerations[0].kye=a", "/server/tolerations/0"},
		{"server.affinity.nodeAfinity.x=1", "/server/affinity"},
		{"client.config.batchSize=0", "/client/config/batchSize"},
		{"client.config.onFork=ignore", "/client/config/onFork"},
		{"client.config.interval=1s", "/client/config"},
		{"client.servers[0]=nohost", "/client/servers/0"},
		{"clients[0].replicas=1", "/clients/0"},
		{"clients[0].name=Upper", "/clients/0/name"},
		{"clients[0].name=server", "/clients/0/name"},
		{"clients[0].name=a,clients[0].bach=1", "/clients/0"},
		{claim, "/clients/0/replicas"},
		{"image.tag=a b", "/image/tag"},
		{"image.digest=sha256:12", "/image/digest"},
		{"image.pullPolicy=Sometimes", "/image/pullPolicy"},
		{"securityContext.runAsUser=0", "/securityContext/runAsUser"},
		{"securityContext.privileged=true", "/securityContext"},
		{"networkPolicy.server.form=x", "/networkPolicy/server"},
		{"monitoring.serviceMonitor.interval=15", "/monitoring/serviceMonitor/interval"},
		{"monitoring.dashboard.enabled=true", "/monitoring"},
		{"podDisruptionBudget.maxUnavailable=0", "/podDisruptionBudget/maxUnavailable"},
		{"test.deadline=soon", "/test/deadline"},
		{"witness.replicas=2", "/witness"},
		{"witness.existingSecret=Upper", "/witness/existingSecret"},
		{"witness.trustedKeys[0]=PRIVATE+KEY+a+00000000+AAAA", "/witness/trustedKeys/0"},
		{"witness.maxTargetAge=1", "/witness/maxTargetAge"},
		{"witness.servers[0]=nohost", "/witness/servers/0"},
		{"witness.persistence.enabled=false", "/witness/persistence"},
		{"witness.service.sessionAffinity=ClientIP", "/witness/service"},
		{"witness.logLevel=loud", "/witness/logLevel"},
		{"networkPolicy.witness.form=x", "/networkPolicy/witness"},
		{"client.trust.quorum=0", "/client/trust/quorum"},
		{"client.trust.keys[0]=key", "/client/trust/keys/0"},
		{"client.trust.key=a", "/client/trust"},
		{"clients[0].name=a,clients[0].trust.quorum=two", "/clients/0/trust/quorum"},
		// What no schema can say.
		{"client.trust.quorum=2", "clients[0].trust.quorum"},
		{"witness.enabled=true", "witness.existingSecret"},
		{"witness.enabled=true,witness.existingSecret=a", "witness.trustedKeys"},
	} {
		flag := "--set"
		if c.set == claim {
			flag = "--set-json"
		}
		_, msg, ok := run(t, nil, tool(t, "helm"), "template", "sync", filepath.Join(root, "helm"), flag, c.set)
		switch {
		case ok:
			t.Errorf("%s was accepted", c.set)
		case !strings.Contains(msg, c.path):
			t.Errorf("%s: the message does not name %s: %s", c.set, c.path, msg)
		}
	}
}

// managed are the lines that are true only of what helm installed.
var managed = regexp.MustCompile(`(?m)^ *(app\.kubernetes\.io/managed-by: Helm|helm\.sh/(chart|resource-policy): .*)\n`)

// TestManifests holds deploy/kustomize/manifests.yaml against the chart.
func TestManifests(t *testing.T) {
	file := filepath.Join(root, "deploy", "kustomize", "manifests.yaml")
	out, msg, ok := run(t, nil, tool(t, "helm"), "template", "proofsync", filepath.Join(root, "helm"),
		"--namespace", "proofsync", "--skip-tests", "-f", filepath.Join(root, "deploy", "kustomize", "values.yaml"))
	if !ok {
		t.Fatal(msg)
	}
	out = managed.ReplaceAllString(out, "")
	if *update {
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != out {
		t.Error("deploy/kustomize/manifests.yaml is stale; run: go test ./test/chart -run Manifests -update")
	}
}
