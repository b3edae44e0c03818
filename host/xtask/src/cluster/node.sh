#!/bin/bash
# A node is a set of namespaces with containerd, kubelet and the pods.
#   node.sh up   NAME              make it and boot it (n1 to n5)
#   node.sh off  NAME              power cut: SIGKILL of the node's pid 1, the kernel kills the rest; the disk stays
#   node.sh on   NAME              boot from the same disk: new boot id, empty /run
#   node.sh rm   NAME              off, and remove the disk
#   node.sh cut  NAME eth0|net1    drop all frames of the node network, or of the pod segment; the carrier stays
#   node.sh heal NAME eth0|net1
#   node.sh stop|start NAME containerd|kubelet    hold a daemon down (SIGKILL), let it run again
#   node.sh exec NAME COMMAND...   run it inside the node
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || { sed -n '2,10p' "$0"; exit 2; }
VERB=$1 NODE=$2; shift 2
NUMBER=${NODE#n} DISK=$NODES/$NODE NETNS=$FABRIC-$NODE
ADDRESS=10.200.0.$((10 + NUMBER))

in_netns() { nsenter --net="/run/netns/$NETNS" "$@"; }
controllers() { awk -F: '{sub(/^name=/,"",$2); if ($2 != "") print $2}' /proc/self/cgroup; }
# A child of the cgroup that this script runs in, so that limits put on it hold for the node, too.
cgroup_of() { # controller
  local path; path=$(awk -F: -v c="$1" '{sub(/^name=/,"",$2)} $2==c{print $3}' /proc/self/cgroup)
  echo "/sys/fs/cgroup/$1${path%/}/$NETNS"
}
pid1() {
  local pid; pid=$(cat "$DISK/pid1" 2>/dev/null) && grep -qsz node-init.sh "/proc/$pid/cmdline" && echo "$pid"
}
in_node() { nsenter -t "$(pid1)" -m -u -i -n -p -C -r -w "$@"; }
port() { case $1 in eth0) echo "e-$NODE" ;; net1) echo "p-$NODE" ;; *) die "which link: eth0 or net1" ;; esac; }

make_disk() {
  mkdir -p "$DISK"/{root,var,etc-cni/net.d,etc-kubernetes,cni-bin,log}
  tr -d - < /proc/sys/kernel/random/uuid > "$DISK/machine-id"
  cp "$PLUGINS"/* "$DISK/cni-bin/"
  cp "$STATE"/net.d/* "$DISK/etc-cni/net.d/"
  cp "$CP/$NODE.kubeconfig" "$DISK/etc-kubernetes/kubeconfig"; cp "$CP/ca.crt" "$DISK/etc-kubernetes/"
  echo "$ADDRESS" > "$DISK/etc-kubernetes/node-ip"
  cat > "$DISK/etc-kubernetes/containerd.toml" <<C
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # Without CAP_SYS_RESOURCE nobody can lower an oom_score_adj.
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
C
  cat > "$DISK/etc-kubernetes/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
protectKernelDefaults: true
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {x509: {clientCAFile: /etc/kubernetes/ca.crt}, anonymous: {enabled: false}, webhook: {enabled: true}}
authorization: {mode: Webhook}
resolvConf: ""
volumePluginDir: /var/lib/kubelet/volumeplugins
maxOpenFiles: $(ulimit -Hn)
oomScoreAdj: 0
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
C
}

make_links() {
  ip netns add "$NETNS"
  in_netns ip link set lo up
  local link
  for link in "e-$NODE eth0 br-node" "p-$NODE net1 br-pod"; do
    set -- $link
    fabric ip link add "$1" type veth peer name "$2" netns "/run/netns/$NETNS"
    fabric ip link set "$1" master "$3"; fabric ip link set "$1" up
    in_netns ip link set "$2" up
  done
  in_netns ip addr add "$ADDRESS/$NODE_PREFIX" dev eth0
  in_netns ip route add default via "$NODE_GATEWAY"
  in_netns sysctl -qw net.ipv4.ip_forward=1
}

boot() {
  if pid1 > /dev/null; then die "$NODE runs"; fi
  make_links
  local controller group groups= list
  list=$(controllers | tr '\n' ' ')
  for controller in $list; do
    group=$(cgroup_of "$controller"); mkdir -p "$group"; groups+="$group "
    if [ "$controller" = cpuset ]; then
      for file in cpuset.cpus cpuset.mems; do cat "$(dirname "$group")/$file" > "$group/$file"; done
    fi
  done
  # A fresh shell joins the cgroups first; unshare then makes them the root of what the node sees.
  NODE_GROUPS=$groups setsid nsenter --net="/run/netns/$NETNS" bash -c '
    for group in $NODE_GROUPS; do echo $$ > "$group/cgroup.procs"; done
    exec unshare --mount --uts --ipc --pid --cgroup --fork bash "$@"' _ \
    "$HERE/node-init.sh" "$NODE" "$DISK" "$TOOLS" "$IMAGES" "$list" >> "$DISK/log/init.log" 2>&1 < /dev/null &
  local parent=$!
  wait_for 20 grep -q . "/proc/$parent/task/$parent/children" || { cat "$DISK/log/init.log"; die "$NODE did not start"; }
  tr -d ' ' < "/proc/$parent/task/$parent/children" > "$DISK/pid1"
}

power_off() {
  local pid controller group left i
  if pid=$(pid1); then kill -9 "$pid"; fi
  # Whatever is left in the node's own cgroup goes, too: unshare, or a node that was only half started.
  for i in $(seq 150); do
    left=$(find "$(cgroup_of pids)" -name cgroup.procs -exec cat {} + 2>/dev/null) || true
    [ -n "$left" ] || break
    kill -9 $left 2>/dev/null || true
    sleep 0.1
  done
  rm -f "$DISK/pid1"
  fabric ip link del "e-$NODE" 2>/dev/null || true
  fabric ip link del "p-$NODE" 2>/dev/null || true
  ip netns del "$NETNS" 2>/dev/null || true
  for controller in $(controllers); do
    group=$(cgroup_of "$controller")
    for i in $(seq 50); do
      [ -d "$group" ] || break
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    [ ! -d "$group" ] || echo "left behind: $group" >&2
  done
}

case $VERB in
  up) [ ! -e "$DISK" ] || die "$NODE exists"; make_disk; boot ;;
  off) power_off ;;
  on) boot ;;
  rm) power_off; rm -rf "$DISK" ;;
  # A port of the bridge that is disabled forwards nothing, and the node does not notice.
  cut) fabric bridge link set dev "$(port "$1")" state 0 ;;
  heal) fabric bridge link set dev "$(port "$1")" state 3 ;;
  stop) in_node bash -c "touch /run/stop/$1; kill -9 \$(cat /run/pid/$1)" ;;
  start) in_node rm -f "/run/stop/$1" ;;
  exec) in_node "$@" ;;
  *) die "unknown: $VERB" ;;
esac
