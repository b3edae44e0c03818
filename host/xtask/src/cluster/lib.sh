# Read by every script here. The task gives the folders: CLUSTER_TOOLS (programs) and CLUSTER_STATE (all that is written).
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOOLS=${CLUSTER_TOOLS:?} STATE=${CLUSTER_STATE:?}
CP=$STATE/cp NODES=$STATE/nodes IMAGES=$STATE/images PLUGINS=$STATE/plugins
# The network namespace of the control plane; the name begins everything else that is made in the kernel.
FABRIC=tenure-e2e

# eth0 of each node, and the segment of the pods (net1 of each node, the parent of their macvlans).
NODE_GATEWAY=10.200.0.1 NODE_PREFIX=24
POD_GATEWAY=10.201.0.1 POD_PREFIX=16
# The address of the Service `kubernetes`: with no kube-proxy, the API server itself listens there.
SERVICE_NET=10.96.0.0/16 SERVICE_IP=10.96.0.1
API=https://$NODE_GATEWAY:443

fabric() { nsenter --net="/run/netns/$FABRIC" "$@"; }
kubectl() { fabric "$TOOLS/kubectl" --kubeconfig "$CP/admin.kubeconfig" "$@"; }
die() { echo "error: $*" >&2; exit 1; }
# wait_for SECONDS COMMAND...
wait_for() {
  local end=$(( $(date +%s) + $1 )); shift
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.2
  done
}
# Whether a pid is still the daemon that was started: a zombie has no command line, a pid used again has another one.
alive() { [ -n "${1:-}" ] && tr '\0' ' ' < "/proc/$1/cmdline" 2>/dev/null | grep -q "^$TOOLS/"; }
