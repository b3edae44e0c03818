//go:build tools

// Package tools names the foreign programs that `cargo xtask tools` builds from the versions in go.mod.
// The staging modules of k8s.io/kubernetes live in its own tree; outside of it each is replaced by its
// published twin. None of them can be had by `go install`, because the modules carry replace lines.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
