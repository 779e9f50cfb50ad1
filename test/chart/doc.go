// Package chart tests the chart, the rendered manifests, dashboards and alerts
// against each other, the documentation and the real processes.
//
// What needs a tool looks for it in PATH, or where HELM, KUBECONFORM, PROMTOOL, HELM_DOCS
// and KUBECONFORM_SCHEMAS (a template for its -schema-location) say, and skips
// without it; with CHART_TOOLS=required it fails instead. CERT_MANAGER_CRD names
// the definition of cert-manager's Certificate, SKAFFOLD_SCHEMA the schema that
// skaffold publishes; without them what needs them is left out.
package chart
