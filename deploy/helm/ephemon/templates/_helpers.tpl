{{- define "ephemon.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "ephemon.fullname" -}}
{{- $name := include "ephemon.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "ephemon.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end }}

{{- /* A release named `ephemon` has the selector of the Kustomize base, which cannot change later. */ -}}
{{- define "ephemon.selector" -}}
app.kubernetes.io/name: {{ include "ephemon.name" . }}
app.kubernetes.io/component: agent
{{- if ne .Release.Name "ephemon" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "ephemon.labels" -}}
{{- $own := dict
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" .Chart.Name
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- toYaml (merge (include "ephemon.selector" . | fromYaml) $own (deepCopy .Values.commonLabels)) -}}
{{- end }}

{{- /* Metadata of an object: (list $ name own-labels own-annotations [namespace]); without a namespace it
is of the cluster. */ -}}
{{- define "ephemon.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := merge (deepCopy (index . 2 | default dict)) (include "ephemon.labels" $root | fromYaml) -}}
{{- $annotations := merge (deepCopy (index . 3 | default dict)) (deepCopy $root.Values.commonAnnotations) -}}
metadata:
  name: {{ index . 1 }}
  {{- if gt (len .) 4 }}
  namespace: {{ index . 4 }}
  {{- end }}
  labels:
    {{- toYaml $labels | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "ephemon.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "ephemon.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "ephemon.image" -}}
{{- with .Values.global.imageRegistry | default .Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- /* Names and references alike, as references. */ -}}
{{- define "ephemon.imagePullSecrets" -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
- name: {{ ternary . (dict "name" .) (kindIs "map" .) | dig "name" "" | quote }}
{{- end }}
{{- end }}

{{- define "ephemon.priorityClass" -}}
{{- .Values.priorityClass.name | default (ternary (include "ephemon.fullname" .) "" .Values.priorityClass.create) -}}
{{- end }}

{{- /* What the spool may hold goes with the pod, too; a volume over its limit has the pod evicted. */ -}}
{{- define "ephemon.stateSizeLimit" -}}
{{- $spool := ternary (mul 3 (int .Values.otlp.spoolMib)) 0 (not (empty .Values.otlp.endpoint)) -}}
{{- .Values.agent.stateSizeLimit | default (printf "%dMi" (add 128 $spool)) -}}
{{- end }}

{{- /* The agent's memory limit in MiB. daemonset.yaml has the two numbers. */ -}}
{{- define "ephemon.memoryLimitMib" -}}
{{- $text := .Values.resources.limits.memory | default (include "ephemon.memoryLimit" .) | toString -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- $bytes := dict "" 1 "k" 1000 "Ki" 1024 "M" 1000000 "Mi" 1048576 "G" 1000000000 "Gi" 1073741824 -}}
{{- if not (hasKey $bytes $unit) }}{{ fail (printf "resources.limits.memory is %s: write it in Mi or Gi" $text) }}{{ end -}}
{{- divf (mulf (trimSuffix $unit $text | float64) (get $bytes $unit)) 1048576 -}}
{{- end }}

{{- /* (dict "probe" values "path" path) */ -}}
{{- define "ephemon.probe" -}}
httpGet:
  path: {{ .path }}
  port: metrics
  {{- with .probe.httpHeaders }}
  httpHeaders:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with .probe.initialDelaySeconds }}
initialDelaySeconds: {{ int . }}
{{- end }}
periodSeconds: {{ int .probe.periodSeconds }}
timeoutSeconds: {{ int .probe.timeoutSeconds }}
{{- /* Kubernetes' own defaults, which the base does not write either. */ -}}
{{- if ne (int .probe.failureThreshold) 3 }}
failureThreshold: {{ int .probe.failureThreshold }}
{{- end }}
{{- if ne (int .probe.successThreshold) 1 }}
successThreshold: {{ int .probe.successThreshold }}
{{- end }}
{{- end }}
