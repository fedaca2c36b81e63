{{- /* The arguments, one a line; what is not set is the operator's own default. */}}
{{- define "dlq-operator.args" -}}
{{- $lists := list
  (list "namespaces" .Values.watchNamespaces)
  (list "allowed-url" .Values.config.allowedUrls)
  (list "allowed-actions" .Values.config.allowedActions)
  (list "allowed-callback-url" .Values.config.allowedCallbackUrls)
  (list "default-connection-namespaces" .Values.config.defaultConnectionNamespaces) }}
{{- range $lists }}
{{- if index . 1 }}
- {{ printf "--%s=%s" (index . 0) (join "," (index . 1)) | quote }}
{{- end }}
{{- end }}
{{- $texts := list
  (list "selector" .Values.watchLabelSelector)
  (list "checkpoint-interval" .Values.config.checkpointInterval)
  (list "request-timeout" .Values.config.requestTimeout)
  (list "otlp-endpoint" .Values.config.otlpEndpoint)
  (list "log-level" .Values.log.level)
  (list "log-format" .Values.log.format) }}
{{- range $texts }}
{{- if index . 1 }}
- {{ printf "--%s=%s" (index . 0) (index . 1) | quote }}
{{- end }}
{{- end }}
{{- $numbers := list
  (list "max-concurrent-runs" .Values.config.maxConcurrentRuns)
  (list "max-runs-per-connection" .Values.config.maxRunsPerConnection)
  (list "retry-limit" .Values.config.retryLimit) }}
{{- range $numbers }}
{{- /* 0 is a value too. */}}
{{- if not (kindIs "invalid" (index . 1)) }}
- {{ printf "--%s=%d" (index . 0) (int64 (index . 1)) | quote }}
{{- end }}
{{- end }}
{{- if .Values.pauseAll }}
- "--pause-all"
{{- end }}
{{- if .Values.config.forceDryRun }}
- "--force-dry-run"
{{- end }}
{{- if not .Values.log.audit }}
- "--audit-log=off"
{{- end }}
{{- if not .Values.metrics.perPolicy }}
- "--per-policy-metrics=off"
{{- end }}
{{- if not (include "dlq-operator.clusterConnections" .) }}
- "--cluster-connections=off"
{{- end }}
{{- if ne .Values.rbac.secretAccess "get" }}
- {{ printf "--secret-access=%s" .Values.rbac.secretAccess | quote }}
{{- end }}
- "--leader-elect"
{{- /* Always named here, as the Role names it too. */}}
- {{ printf "--lease-name=%s" (include "dlq-operator.leaseName" .) | quote }}
{{- with .Values.leaderElection.leaseNamespace }}
- {{ printf "--lease-namespace=%s" . | quote }}
{{- end }}
{{- with .Values.leaderElection.leaseDuration }}
- {{ printf "--lease-duration=%s" . | quote }}
{{- end }}
- {{ printf "--admin-address=0.0.0.0:%d" (int64 .Values.metrics.port) | quote }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
