{{- define "ephemon.name" -}}
{{- if contains "ephemon" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-ephemon" (.Release.Name | trunc 44 | trimSuffix "-") -}}
{{- end -}}
{{- end }}

{{- define "ephemon.selector" -}}
app.kubernetes.io/name: ephemon
app.kubernetes.io/component: agent
{{- if ne .Release.Name "ephemon" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "ephemon.labels" -}}
{{ include "ephemon.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ephemon.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "ephemon.priorityClass" -}}
{{- .Values.priorityClass.name | default (ternary (include "ephemon.name" .) "" .Values.priorityClass.create) -}}
{{- end }}
