{{- define "driftbell.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 42 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{- define "driftbell.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "driftbell.labels" -}}
{{ include "driftbell.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "driftbell.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "driftbell.fullname" .) -}}
{{- end -}}

{{- define "driftbell.sessionSecret" -}}
{{- .Values.sessions.existingSecret | default (printf "%s-sessions" (include "driftbell.fullname" .)) -}}
{{- end -}}

{{- define "driftbell.publicUrl" -}}
{{- .Values.publicUrl | default (printf "http://%s.%s:%v" (include "driftbell.fullname" .) .Release.Namespace .Values.service.port) | trimSuffix "/" -}}
{{- end -}}

{{/* Sections of driftbell.toml. Precedence: settings fixed by the chart, user values, defaults of the chart. */}}
{{- define "driftbell.config" -}}
{{- $defaults := dict "auth" (dict "required" "with_keys") -}}
{{- if not .Values.reports.existingClaim -}}
{{- $_ := set $defaults "reports" (dict "evidently" "off") -}}
{{- end -}}
{{- $name := include "driftbell.fullname" . -}}
{{- $names := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $hosts := concat $names (dig "server" "allowed_hosts" list .Values.config) -}}
{{- $fixed := dict "server" (dict "host" "0.0.0.0" "port" 8000 "allowed_hosts" $hosts) -}}
{{- if .Values.publicUrl -}}
{{- $_ := set $fixed "notifications" (dict "link" (include "driftbell.publicUrl" .)) -}}
{{- end -}}
data_dir = "/data"
{{- range $section, $keys := mergeOverwrite $defaults (deepCopy .Values.config) $fixed }}

[{{ $section }}]
{{- range $key, $value := $keys }}
{{ ternary $key (toJson $key) (regexMatch "^[A-Za-z0-9_-]+$" $key) }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Fields of every pod. */}}
{{- define "driftbell.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false # their variables would look like driftbell's settings
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with .Values.user }}
  runAsUser: {{ int . }}
  runAsGroup: {{ int . }}
  fsGroup: {{ int . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Fields of every container. */}}
{{- define "driftbell.container" -}}
{{- if .Values.image.digest }}
image: {{ printf "%s@%s" .Values.image.repository .Values.image.digest | quote }}
{{- else }}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
{{- end }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "driftbell.env" -}}
- {name: DRIFTBELL_LOG__URL_FILE, value: /run/secrets/driftbell/log/url}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "driftbell.mounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
- {name: log-url, mountPath: /run/secrets/driftbell/log, readOnly: true}
{{- end -}}

{{- define "driftbell.volumes" -}}
- {name: data, emptyDir: {}}
- {name: tmp, emptyDir: {}}
- name: log-url
  secret:
    secretName: {{ .Values.log.existingSecret }}
    defaultMode: 0444
    items: [{key: {{ .Values.log.secretKey | quote }}, path: url}]
{{- end -}}

{{/* Mounts of server and monitor, but not of the migration. */}}
{{- define "driftbell.workMounts" -}}
{{ include "driftbell.mounts" . }}
- {name: config, mountPath: /etc/driftbell, readOnly: true}
{{- if .Values.model.volume }}
- {name: model, mountPath: {{ .Values.model.mountPath | quote }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "driftbell.workVolumes" -}}
{{ include "driftbell.volumes" . }}
- name: config
  configMap: {name: {{ include "driftbell.fullname" . }}}
{{- with .Values.model.volume }}
- name: model
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.reports.existingClaim }}
- name: reports
  persistentVolumeClaim: {claimName: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "driftbell.workAnnotations" -}}
checksum/config: {{ include "driftbell.config" . | sha256sum }}
{{- end -}}

{{/* Placement of pods. Call it with the values of server or monitor. */}}
{{- define "driftbell.placement" -}}
{{- range $key := list "nodeSelector" "affinity" "tolerations" }}
{{- with index $ $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
