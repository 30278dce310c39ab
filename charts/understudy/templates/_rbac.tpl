{{- /* A role with its binding; .component, .block of rules, .suffix of the name, .namespace of a Role. */ -}}
{{- define "understudy.subjects" -}}
subjects:
- {kind: ServiceAccount, name: understudy-{{ .component }}, namespace: {{ .root.Release.Namespace }}}
{{- end }}

{{- define "understudy.clusterRole" }}
{{- $name := printf "%s%s" (include "understudy.clusterName" .) .suffix }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels: {{- include "understudy.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
rules:
{{ include (printf "understudy.rules.%s.%s" .component .block) .root }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels: {{- include "understudy.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name | quote }}}
{{ include "understudy.subjects" . }}
{{- end }}

{{- define "understudy.role" }}
{{- $name := printf "understudy-%s%s" .component .suffix }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ .namespace }}
  labels: {{- include "understudy.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
rules:
{{ include (printf "understudy.rules.%s.%s" .component .block) .root }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ .namespace }}
  labels: {{- include "understudy.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $name }}}
{{ include "understudy.subjects" . }}
{{- end }}
