//go:build tools

// Package etcd names the command that a node needs, so that go.mod and go.sum pin all it imports.
package etcd

import _ "go.etcd.io/etcd/server/v3"
