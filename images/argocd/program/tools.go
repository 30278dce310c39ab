//go:build tools

// Package argocd names the command that is built, so that go.mod and go.sum pin all it imports.
package argocd

import _ "github.com/argoproj/argo-cd/v3/cmd"
