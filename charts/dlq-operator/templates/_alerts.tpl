{{- /* The alerts that are not disabled, with what `prometheusRule.overrides` changes, as the groups of a PrometheusRule. */}}
{{- define "dlq-operator.alerts" -}}
{{- /* Where an expression has its threshold. */}}
{{- $thresholds := dict
  "DlqPolicyRunFailing" "< 1800"
  "DlqPolicyEntriesExpiring" "> 0"
  "DlqOperatorRateLimited" "> 0.25"
  "DlqOperatorUpstreamErrors" "> 0.1" }}
{{- $disabled := default dict .Values.prometheusRule.disabled }}
{{- $overrides := default dict .Values.prometheusRule.overrides }}
{{- $names := list }}
{{- $groups := list }}
{{- $docs := include "dlq-operator.documentation" . }}
{{- range (.Files.Get "files/alerts.yaml" | fromYaml).groups }}
{{- $rules := list }}
{{- range .rules }}
{{- $name := .alert }}
{{- $names = append $names $name }}
{{- $changes := default dict (get $overrides $name) }}
{{- if hasKey $changes "for" }}
{{- $_ := set . "for" $changes.for }}
{{- end }}
{{- if hasKey $changes "keepFiringFor" }}
{{- $_ := set . "keep_firing_for" $changes.keepFiringFor }}
{{- end }}
{{- if hasKey $changes "severity" }}
{{- $_ := set .labels "severity" $changes.severity }}
{{- end }}
{{- if hasKey $changes "threshold" }}
{{- $threshold := get $thresholds $name }}
{{- if not (and $threshold (contains $threshold .expr)) }}
{{- printf "prometheusRule.overrides.%s: this alert has no threshold; these have one: %s" $name (keys $thresholds | sortAlpha | join ", ") | fail }}
{{- end }}
{{- $operator := splitList " " $threshold | first }}
{{- $_ := set . "expr" (replace $threshold (printf "%s %v" $operator $changes.threshold) .expr) }}
{{- end }}
{{- $_ := set .annotations "runbook_url" (.annotations.runbook_url | trimPrefix "docs" | print $docs) }}
{{- if not (get $disabled $name) }}
{{- $rules = append $rules . }}
{{- end }}
{{- end }}
{{- if $rules }}
{{- $groups = append $groups (dict "name" .name "rules" $rules) }}
{{- end }}
{{- end }}
{{- range concat (keys $disabled) (keys $overrides) | sortAlpha }}
{{- if not (has . $names) }}
{{- printf "prometheusRule: there is no alert %s; there are: %s" . (join ", " $names) | fail }}
{{- end }}
{{- end }}
groups:
  {{- toYaml $groups | nindent 2 }}
{{- end }}
