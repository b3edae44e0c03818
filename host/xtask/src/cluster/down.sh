#!/bin/bash
# Ends everything that was started here, by pid, and removes its namespaces, cgroups and folders.
. "$(dirname "$0")/lib.sh"
for disk in "$NODES"/*/; do [ ! -d "$disk" ] || "$HERE/node.sh" rm "$(basename "$disk")"; done
for name in kube-scheduler kube-controller-manager kube-apiserver etcd; do
  pid=$(cat "$CP/pid/$name" 2>/dev/null) || continue
  alive "$pid" || continue
  # There is nothing to save.
  kill -9 "$pid" || true
done
[ ! -e "/run/netns/$FABRIC" ] || ip netns del "$FABRIC"
rm -rf "$STATE"
