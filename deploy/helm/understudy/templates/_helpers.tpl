{{- /* The name of a coordinator's objects: of a dict with root and name. */ -}}
{{- define "understudy.name" -}}
{{- printf "%s-%s" .root.Release.Name .name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "understudy.selector" -}}
app.kubernetes.io/name: understudy
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "understudy.labels" -}}
{{ include "understudy.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- /* A role is known by its name alone where several namespaces share a store. */ -}}
{{- define "understudy.role" -}}
{{- $name := include "understudy.name" . -}}
{{- .it.role | default (has .root.Values.backend (list "kubernetes" "raft") | ternary $name (printf "%s.%s" .root.Release.Namespace $name)) -}}
{{- end -}}

{{- /* Every setting of understudy is a variable, too. A dict with prefix and settings. */ -}}
{{- define "understudy.variables" -}}
{{- $prefix := .prefix -}}
{{- range $key, $value := .settings }}
- {name: {{ printf "UNDERSTUDY_%s%s" $prefix ($key | snakecase | upper) }}, value: {{ kindIs "slice" $value | ternary (join "," $value) (toString $value) | quote }}}
{{- end }}
{{- end -}}

{{- define "understudy.peers" -}}
{{- $name := include "understudy.name" . -}}
{{- $peers := list -}}
{{- range $i := until (int .it.replicas) -}}
{{- $peers = append $peers (printf "%s-%d=%s-%d.%s-peers:7001" $name $i $name $i $name) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end -}}

{{- define "understudy.env" -}}
{{- $v := .root.Values -}}
{{- $raft := eq $v.backend "raft" -}}
- {name: UNDERSTUDY_ID, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: POD_REVISION, valueFrom: {fieldRef: {fieldPath: "metadata.labels['{{ $raft | ternary "controller-revision-hash" "pod-template-hash" }}']"}}}
- {name: UNDERSTUDY_LABEL, value: revision=$(POD_REVISION)}
- {name: UNDERSTUDY_ADDRESS, value: $(POD_IP)}
- {name: UNDERSTUDY_ROLE, value: {{ include "understudy.role" . }}}
- {name: UNDERSTUDY_ACTIVE_STANDBY, value: "{{ .it.activeStandby.enabled }}"}
- {name: UNDERSTUDY_PRIORITY, value: "{{ .it.priority | default 0 }}"}
- {name: UNDERSTUDY_STOP_TIMEOUT, value: "{{ .it.stopTimeoutSeconds | default 30 }}s"}
- {name: UNDERSTUDY_LOCK_FILE, value: /lock/understudy}
- {name: UNDERSTUDY_BACKEND, value: {{ $v.backend }}}
{{- if eq $v.backend "kubernetes" }}
- {name: UNDERSTUDY_KUBERNETES_LEASE, value: {{ include "understudy.name" . }}}
{{- else if $raft }}
- {name: UNDERSTUDY_RAFT_PEERS, value: "{{ include "understudy.peers" . }}"}
- {name: UNDERSTUDY_RAFT_BIND, value: "0.0.0.0:7001"}
- {name: UNDERSTUDY_RAFT_DIR, value: /data/raft}
{{- if $v.raft.certificates.secret }}
- {name: UNDERSTUDY_RAFT_CA_FILE, value: /certs/ca.pem}
- {name: UNDERSTUDY_RAFT_CERT_FILE, value: /certs/$(UNDERSTUDY_ID).pem}
- {name: UNDERSTUDY_RAFT_KEY_FILE, value: /certs/$(UNDERSTUDY_ID).key}
{{- else }}
- {name: UNDERSTUDY_RAFT_CA_FILE, value: /certs/ca.crt}
- {name: UNDERSTUDY_RAFT_CERT_FILE, value: /certs/tls.crt}
- {name: UNDERSTUDY_RAFT_KEY_FILE, value: /certs/tls.key}
{{- end }}
{{- else }}
{{- include "understudy.variables" (dict "prefix" (printf "%s_" (upper $v.backend)) "settings" (get $v $v.backend)) }}
{{- end }}
{{- if .it.ports }}
- {name: UNDERSTUDY_ENDPOINT_SLICE, value: {{ include "understudy.name" . }}}
{{- end }}
{{- if $v.metrics.tokenSecret.name }}
- {name: UNDERSTUDY_ADMIN_LISTEN, value: ":7070"}
- {name: UNDERSTUDY_ADMIN_TOKEN_FILE, value: /metrics/{{ $v.metrics.tokenSecret.key }}}
{{- else }}
- {name: UNDERSTUDY_ADMIN_LISTEN, value: "127.0.0.1:7070"}
{{- end }}
# What is stopped hands over to a pod of another revision, if there is one: so a rollout moves the role once.
- {name: UNDERSTUDY_FROM, value: $(UNDERSTUDY_ID)}
- {name: UNDERSTUDY_SELECTOR, value: revision!=$(POD_REVISION)}
{{- include "understudy.variables" (dict "prefix" "" "settings" (merge (dict) (.it.settings | default dict) $v.settings)) }}
{{- with .it.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "understudy.probe" -}}
exec: {command: [/understudy/understudy, healthcheck, {{ .what }}]}
{{ toYaml (merge (dict) (.it.probes | default dict) (dict "periodSeconds" 5 "timeoutSeconds" 3 "failureThreshold" 3)) }}
{{- end -}}

{{- define "understudy.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "understudy.pod" -}}
{{- $v := .root.Values -}}
{{- $stop := .it.stopTimeoutSeconds | default 30 | int -}}
metadata:
  labels:
    {{- include "understudy.selector" . | nindent 4 }}
  {{- with .it.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  # Only the store kubernetes, and the Service of the active, ask the API server.
  automountServiceAccountToken: {{ or (eq $v.backend "kubernetes") (not (empty .it.ports)) }}
  # A handoff has the time of one stop, and what is left then has another; and some seconds for the store.
  terminationGracePeriodSeconds: {{ add (mul 2 $stop) 15 }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $v.podSecurityContext | nindent 4 }}
  topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {{ include "understudy.selector" . | fromYaml | toJson }}}}
  {{- range $field := list "nodeSelector" "tolerations" "affinity" }}
  {{- with get $.it $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  initContainers:
  - name: understudy
    image: {{ $v.understudy.image }}
    imagePullPolicy: {{ $v.understudy.imagePullPolicy }}
    command: [/understudy, copy, /understudy-bin/understudy]
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
    securityContext:
      {{- include "understudy.confined" . | nindent 6 }}
    volumeMounts:
    - {name: understudy, mountPath: /understudy-bin}
  containers:
  - name: coordinator
    image: {{ .it.image }}
    {{- with .it.imagePullPolicy }}
    imagePullPolicy: {{ . }}
    {{- end }}
    command: [/understudy/understudy, run, --]
    args: {{ toJson .it.command }}
    env:
    {{- include "understudy.env" . | nindent 4 }}
    {{- if or .it.ports $v.metrics.tokenSecret.name (eq $v.backend "raft") }}
    ports:
    {{- range $name, $port := .it.ports }}
    - {name: {{ $name }}, containerPort: {{ $port }}}
    {{- end }}
    {{- if $v.metrics.tokenSecret.name }}
    - {name: metrics, containerPort: 7070}
    {{- end }}
    {{- if eq $v.backend "raft" }}
    - {name: raft, containerPort: 7001}
    {{- end }}
    {{- end }}
    {{- with .it.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- include "understudy.confined" . | nindent 6 }}
    # livez: its loop turns. An outage of the store restarts nobody.
    livenessProbe:
      {{- include "understudy.probe" (dict "what" "livez" "it" .it) | nindent 6 }}
    # readyz: it is active, or could take over. A standby is ready, so a rollout does not wait for activity.
    readinessProbe:
      {{- include "understudy.probe" (dict "what" "readyz" "it" .it) | nindent 6 }}
    {{- if gt (int .it.replicas) 1 }}
    # If nobody is there to hand over to, this fails at once, and the stop goes on.
    lifecycle:
      preStop: {exec: {command: [/understudy/understudy, handoff, --timeout={{ add $stop 5 }}s]}}
    {{- end }}
    volumeMounts:
    - {name: understudy, mountPath: /understudy, readOnly: true}
    - {name: lock, mountPath: /lock}
    {{- if eq $v.backend "raft" }}
    - {name: data, mountPath: /data}
    - {name: certs, mountPath: /certs, readOnly: true}
    {{- end }}
    {{- if $v.secret }}
    - {name: secret, mountPath: /secrets, readOnly: true}
    {{- end }}
    {{- if $v.metrics.tokenSecret.name }}
    - {name: metrics, mountPath: /metrics, readOnly: true}
    {{- end }}
    {{- with .it.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
  - {name: understudy, emptyDir: {}}
  # It outlives a container that is killed, and its next start knows by it that nothing of the one before is left.
  - {name: lock, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  {{- if eq $v.backend "raft" }}
  - {name: certs, secret: {secretName: {{ $v.raft.certificates.secret | default (printf "%s-raft" (include "understudy.name" .)) }}, defaultMode: 0440}}
  {{- end }}
  {{- if $v.secret }}
  - {name: secret, secret: {secretName: {{ $v.secret }}, defaultMode: 0440}}
  {{- end }}
  {{- if $v.metrics.tokenSecret.name }}
  - {name: metrics, secret: {secretName: {{ $v.metrics.tokenSecret.name }}, defaultMode: 0440}}
  {{- end }}
  {{- with .it.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
