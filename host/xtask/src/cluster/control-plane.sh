#!/bin/bash
# etcd, kube-apiserver, kube-controller-manager and kube-scheduler, in a network namespace that has no way out of the
# machine. Starts only what does not run.
. "$(dirname "$0")/lib.sh"
mkdir -p "$CP/log" "$CP/pid" "$NODES"

make_fabric() {
  ip netns add "$FABRIC"
  fabric ip link set lo up
  fabric ip addr add "$SERVICE_IP/32" dev lo
  local bridge
  for bridge in "br-node $NODE_GATEWAY/$NODE_PREFIX 02:00:00:00:00:01" "br-pod $POD_GATEWAY/$POD_PREFIX 02:00:00:00:00:02"; do
    set -- $bridge
    # Without a MAC of its own a bridge takes one of its ports, and another when that port goes.
    fabric ip link add "$1" address "$3" type bridge
    fabric ip addr add "$2" dev "$1"
    fabric ip link set "$1" up
  done
  fabric sysctl -qw net.ipv4.ip_forward=1
}

certificate() { # name, subject, extension lines
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
    -extfile <(echo "$3") 2>/dev/null
}

user() { # name of the file, user, groups
  local token; token=$(openssl rand -hex 16)
  echo "$token,$2,$2,\"$3\"" >> tokens.csv
  cat > "$1.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "$API", certificate-authority-data: "$(base64 -w0 ca.crt)"}}]
users: [{name: me, user: {token: "$token"}}]
contexts: [{name: e2e, context: {cluster: e2e, user: me}}]
current-context: e2e
K
}

make_identities() {
  cd "$CP"
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=e2e-ca -keyout ca.key -out ca.crt 2>/dev/null
  certificate apiserver /CN=kube-apiserver \
    "subjectAltName=IP:$NODE_GATEWAY,IP:127.0.0.1,IP:$SERVICE_IP,DNS:localhost,DNS:kubernetes.default.svc"
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client extendedKeyUsage=clientAuth
  : > tokens.csv
  user admin admin system:masters
  user controller-manager system:kube-controller-manager ""
  user scheduler system:kube-scheduler ""
  local i
  for i in 1 2 3 4 5; do user "n$i" "system:node:n$i" system:nodes; done
  touch done
}

daemon() { # name, arguments
  local name=$1; shift
  if alive "$(cat "$CP/pid/$name" 2>/dev/null)"; then return; fi
  # A simple command, so that $! is the daemon itself.
  setsid nsenter --net="/run/netns/$FABRIC" "$TOOLS/$name" "$@" >> "$CP/log/$name.log" 2>&1 < /dev/null &
  echo $! > "$CP/pid/$name"
}

[ -e "/run/netns/$FABRIC" ] || make_fabric
[ -e "$CP/done" ] || ( make_identities )

daemon etcd --name e2e --data-dir "$CP/etcd" --log-level warn --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster e2e=http://127.0.0.1:2380
daemon kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
  --bind-address=0.0.0.0 --advertise-address="$NODE_GATEWAY" --secure-port=443 \
  --tls-cert-file="$CP/apiserver.crt" --tls-private-key-file="$CP/apiserver.key" --client-ca-file="$CP/ca.crt" \
  --token-auth-file="$CP/tokens.csv" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate="$CP/kubelet-client.crt" --kubelet-client-key="$CP/kubelet-client.key" \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$CP/sa.pub" \
  --service-account-signing-key-file="$CP/sa.key" --service-cluster-ip-range="$SERVICE_NET" --allow-privileged=true
wait_for 120 kubectl get --raw /readyz || { tail "$CP/log/kube-apiserver.log"; die "the API server is not ready"; }
daemon kube-controller-manager --kubeconfig="$CP/controller-manager.kubeconfig" --bind-address=127.0.0.1 \
  --leader-elect=false --use-service-account-credentials=true --root-ca-file="$CP/ca.crt" \
  --service-account-private-key-file="$CP/sa.key" --allocate-node-cidrs=false
daemon kube-scheduler --kubeconfig="$CP/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false
wait_for 60 kubectl -n default get serviceaccount default || die "kube-controller-manager makes no service accounts"
