{{- /* Names and labels. Components have fixed names: other processes look them up by these. */ -}}
{{- define "understudy.labels" -}}
app.kubernetes.io/name: understudy
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* Cluster-scoped names carry the namespace, so that namespaced installations do not meet. */ -}}
{{- define "understudy.clusterName" -}}
understudy:{{ .root.Release.Namespace }}:{{ .component }}
{{- end }}

{{- define "understudy.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end }}

{{- define "understudy.tlsSecret" -}}
{{ .Values.adminTls.existingSecret | default "understudy-admin-tls" }}
{{- end }}

{{- define "understudy.gatewayUrl" -}}
{{- $port := int .Values.gateway.service.port -}}
{{- $scheme := .Values.gateway.tls.secretName | empty | ternary "http" "https" -}}
{{- $usual := .Values.gateway.tls.secretName | empty | ternary 80 443 -}}
{{- .Values.gateway.url | default (printf "%s://understudy-gateway.%s%s" $scheme .Release.Namespace (eq $port (int $usual) | ternary "" (printf ":%d" $port))) -}}
{{- end }}

{{- /* Above the open requests' time: the 10 s in which a gateway still takes new ones. */ -}}
{{- define "understudy.gatewayGrace" -}}
{{ add (int .Values.gateway.shutdownTimeout) 20 }}
{{- end }}

{{- define "understudy.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "understudy.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Where the pods of one component run: .values of the component, .component its name. */ -}}
{{- define "understudy.placement" -}}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {app.kubernetes.io/name: understudy, app.kubernetes.io/component: {{ .component }}}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
