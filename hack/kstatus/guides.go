package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	source "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/yaml"
)

const guide = "../../docs/gitops/flux.md"

// kinds are Flux' own types; a field that they do not have is a mistake in the guide.
var kinds = map[string]func() any{
	helm.GroupVersion.String() + "/HelmRelease":        func() any { return &helm.HelmRelease{} },
	kustomize.GroupVersion.String() + "/Kustomization": func() any { return &kustomize.Kustomization{} },
	source.GroupVersion.String() + "/GitRepository":    func() any { return &source.GitRepository{} },
	source.GroupVersion.String() + "/OCIRepository":    func() any { return &source.OCIRepository{} },
}

// readGuides reads the manifests of the guide for Flux.
func readGuides() error {
	text, err := os.ReadFile(guide)
	if err != nil {
		return err
	}
	read := map[string]bool{}
	for _, block := range strings.Split(string(text), "\n```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		for _, document := range bytes.Split([]byte(block), []byte("\n---\n")) {
			var id struct {
				APIVersion string `json:"apiVersion"`
				Kind       string `json:"kind"`
			}
			if err := yaml.Unmarshal(document, &id); err != nil {
				return fmt.Errorf("%s: %w", guide, err)
			}
			name := id.APIVersion + "/" + id.Kind
			if !strings.Contains(id.APIVersion, "fluxcd.io/") {
				continue
			}
			kind, ok := kinds[name]
			if !ok {
				return fmt.Errorf("%s: Flux has no %s that is read here", guide, name)
			}
			if err := yaml.UnmarshalStrict(document, kind()); err != nil {
				return fmt.Errorf("%s: %s: %w", guide, name, err)
			}
			read[name] = true
		}
	}
	if len(read) < 3 {
		return errors.New("no manifests are found in " + guide)
	}
	return nil
}
