{{- define "dlq-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* At most 53 characters, as Helm allows for a release: suffixes must fit into 63. A letter first and no dots, as the name of a
Service has them. */}}
{{- define "dlq-operator.fullname" -}}
{{- $name := include "dlq-operator.name" . }}
{{- $full := .Release.Name }}
{{- if .Values.fullnameOverride }}
{{- $full = .Values.fullnameOverride }}
{{- else if not (contains $name .Release.Name) }}
{{- $full = printf "%s-%s" .Release.Name $name }}
{{- end }}
{{- if regexMatch "^[0-9]" $full }}
{{- $full = printf "dlq-%s" $full }}
{{- end }}
{{- $full | replace "." "-" | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- /* For what lies outside of the release's namespace, where a release of the same name in another one must not meet it. */}}
{{- define "dlq-operator.globalName" -}}
{{- printf "%s:%s" .Release.Namespace (include "dlq-operator.fullname" .) }}
{{- end }}

{{- define "dlq-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "dlq-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.create: false needs serviceAccount.name: without a name the pods would use the account `default`, and every other pod of the namespace that names no account would get the operator's permissions, such as to read Secrets" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "dlq-operator.leaseName" -}}
{{- default (include "dlq-operator.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- define "dlq-operator.leaseNamespace" -}}
{{- default .Release.Namespace .Values.leaderElection.leaseNamespace }}
{{- end }}

{{- /* Never changed: a Deployment's selector cannot be. */}}
{{- define "dlq-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dlq-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* The labels of an object: those of all, and then its own, which win over `commonLabels`. Takes a list of the root and a map. */}}
{{- define "dlq-operator.labels" -}}
{{- $root := index . 0 }}
{{- $base := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/part-of" "dlq-operator"
  "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $selector := include "dlq-operator.selectorLabels" $root | fromYaml }}
{{- mergeOverwrite (dict) $root.Values.commonLabels (index . 1) $base $selector | toYaml }}
{{- end }}

{{- /* The labels of a pod, without those that change with every release of the chart. */}}
{{- define "dlq-operator.podLabels" -}}
{{- $root := index . 0 }}
{{- $selector := include "dlq-operator.selectorLabels" $root | fromYaml }}
{{- mergeOverwrite (dict) $root.Values.commonLabels (index . 1) (dict "app.kubernetes.io/part-of" "dlq-operator") $selector | toYaml }}
{{- end }}

{{- /* Takes a list of the root, a map such as `image`, and its default tag. */}}
{{- define "dlq-operator.image" -}}
{{- $image := index . 1 }}
{{- $name := $image.repository }}
{{- with default $image.registry (default dict (index . 0).Values.global).imageRegistry }}
{{- $name = printf "%s/%s" . $image.repository }}
{{- end }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default (index . 2) $image.tag) }}
{{- end }}
{{- end }}

{{- /* Where the pages of docs/ are: a URL, or the folder of a checkout. */}}
{{- define "dlq-operator.documentation" -}}
{{- default "docs" .Values.documentationUrl | trimSuffix "/" }}
{{- end }}

{{- /* The Secrets of `global` and the chart's own, each once. Other charts write names where Kubernetes has maps. */}}
{{- define "dlq-operator.imagePullSecrets" -}}
{{- $secrets := list }}
{{- range concat (default list (default dict .Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) }}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with uniq $secrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The folder of the authorities in `caBundle`. */}}
{{- define "dlq-operator.caFolder" -}}
/etc/dlq-operator/ca
{{- end }}

{{- /* Soft, as a cluster of one node has to run both pods. */}}
{{- define "dlq-operator.affinity" -}}
{{- if .Values.affinity }}
affinity:
  {{- toYaml .Values.affinity | nindent 2 }}
{{- else if gt (int .Values.replicaCount) 1 }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "dlq-operator.selectorLabels" . | nindent 14 }}
{{- end }}
{{- end }}

{{- /* What the operator may do with policies and connections of the namespaces it manages. */}}
{{- define "dlq-operator.rules" -}}
- apiGroups: [dlq-operator.dev]
  resources: [dlqpolicies, dlqconnections]
  verbs: [get, list, watch]
- apiGroups: [dlq-operator.dev]
  resources: [dlqpolicies/status, dlqconnections/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: {{ eq .Values.rbac.secretAccess "watch" | ternary "[get, list, watch]" "[get]" }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- /* Whether policies may use a ClusterDlqConnection: "true", or nothing. With namespaces to watch only if it is asked for, as it
takes permissions in the whole cluster. */}}
{{- define "dlq-operator.clusterConnections" -}}
{{- $enabled := .Values.clusterConnections.enabled }}
{{- if kindIs "invalid" $enabled }}
{{- $enabled = empty .Values.watchNamespaces }}
{{- end }}
{{- if and .Values.clusterConnections.secretNamespaces (not $enabled) }}
{{- fail "clusterConnections.secretNamespaces needs clusterConnections.enabled: true: without it no policy can use a ClusterDlqConnection, and their Secrets need not be read" }}
{{- end }}
{{- if $enabled }}true{{ end }}
{{- end }}

{{- /* What a ClusterDlqConnection takes in the whole cluster. Of namespaces, the labels that a selector asks for. */}}
{{- define "dlq-operator.clusterConnectionRules" -}}
- apiGroups: [dlq-operator.dev]
  resources: [clusterdlqconnections]
  verbs: [get, list, watch]
- apiGroups: [dlq-operator.dev]
  resources: [clusterdlqconnections/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}
