#!/bin/bash
# Process 1 of a node, started by node.sh in namespaces of its own. It makes a root of its own, so that every usual path
# is private to the node, pivots into it, and keeps containerd and kubelet running as an init system would.
set -euo pipefail
NODE=$1 DISK=$2 TOOLS=$3 IMAGES=$4 CONTROLLERS=$5
hostname "$NODE"
mount --make-rprivate /
mount -t tmpfs -o mode=755 "$NODE" "$DISK/root"
cd "$DISK/root"
mkdir -p usr etc/cni etc/kubernetes var run proc sys dev tmp root opt/cni/bin images old
for folder in bin sbin lib lib64; do
  if [ -L "/$folder" ]; then cp -a "/$folder" "$folder"; else mkdir "$folder"; mount --rbind "/$folder" "$folder"; fi
done
mount --bind /usr usr; mount -o remount,bind,ro usr
mount --bind "$TOOLS" usr/local/bin
mount --bind "$IMAGES" images
mount --bind "$DISK/cni-bin" opt/cni/bin
mount --bind "$DISK/etc-cni" etc/cni
mount --bind "$DISK/etc-kubernetes" etc/kubernetes
# As on any system: without the link containerd keeps the namespaces of pods on disk, and a reboot is none.
ln -sfn /run "$DISK/var/run"; mkdir -p "$DISK/var/tmp"
mount --bind "$DISK/var" var
mount -t tmpfs -o mode=755 run run
mount -t tmpfs tmp tmp
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache etc/ 2>/dev/null || true
printf '127.0.0.1 localhost\n' > etc/hosts
echo "$NODE" > etc/hostname
cp "$DISK/machine-id" etc/machine-id
# Mounted inside the cgroup namespace: the node sees its own cgroup as the root of each hierarchy.
mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
for controller in $CONTROLLERS; do
  mkdir "sys/fs/cgroup/$controller"
  case $controller in
    systemd) mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd ;;
    *) mount -t cgroup -o "$controller" cgroup "sys/fs/cgroup/$controller" ;;
  esac
done
# The kubelet would change these for the whole machine; it is shown what it wants to see. The boot id is of this boot.
mkdir -p run/fake
fake() { echo "$2" > "run/fake/${1//\//.}"; mount --bind "run/fake/${1//\//.}" "proc/sys/$1"; }
fake vm/overcommit_memory 1; fake vm/panic_on_oom 0
fake kernel/panic 10; fake kernel/panic_on_oops 1
fake kernel/keys/root_maxkeys 1000000; fake kernel/keys/root_maxbytes 25000000
fake kernel/random/boot_id "$(cat /proc/sys/kernel/random/uuid)"
pivot_root . old
cd /
umount -l /old; rmdir /old
mount --make-rshared /
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /var/log /run/stop /run/pid

# Keeps it running unless /run/stop/NAME exists.
keep() {
  local name=$1; shift
  while :; do
    if [ ! -e "/run/stop/$name" ]; then
      "$@" >> "/var/log/$name.log" 2>&1 < /dev/null &
      echo $! > "/run/pid/$name"
      wait $! || true
      echo "--- $name ended, $(date +%T)" >> "/var/log/$name.log"
    fi
    sleep 1
  done
}
keep containerd containerd -c /etc/kubernetes/containerd.toml &
tries=0; until ctr -n k8s.io version >/dev/null 2>&1; do sleep 0.2; tries=$((tries + 1)); [ $tries -lt 150 ] || exit 1; done
for image in /images/*.tar; do
  # Once for each image: its name stands in the file beside it.
  name=$(cat "${image%.tar}.name")
  [ -n "$(ctr -n k8s.io images ls -q name=="$name")" ] || ctr -n k8s.io images import "$image" >> /var/log/images.log 2>&1
done
keep kubelet kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubeconfig \
  --hostname-override="$NODE" --node-ip="$(cat /etc/kubernetes/node-ip)" --v=2 &
wait
