// Command kstatus says what deploy tools make of the policies and connections in a folder, a JSON file each: kstatus, which Flux and Helm's
// --wait ask, and Argo CD with the scripts that docs/gitops ships, in the interpreter that Argo CD has.
// Before that it reads the manifests of the guide for Flux as strictly as Flux' own types are.
//
//	go -C hack/kstatus run . ../../tests/data/conditions
//
// The operator's tests run it on what they read from an API server, and say what each must read.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const script = "../../docs/gitops/argocd/health.lua"

// row is what the readers say of a state.
type row struct {
	State   string `json:"state"`
	Kstatus string `json:"kstatus"`
	ArgoCD  string `json:"argocd"`
	// The same object after an edit that the operator has not seen yet.
	EditedKstatus string `json:"editedKstatus"`
	EditedArgoCD  string `json:"editedArgocd"`
	// What each action of Argo CD that is offered then changes. Only policies have actions.
	Actions map[string]map[string]any `json:"actions"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if err := readGuides(); err != nil {
		return err
	}
	if len(os.Args) != 2 {
		return errors.New("usage: kstatus FOLDER")
	}
	objects := filepath.Join(os.Args[1], "*.json")
	health, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	paths, err := filepath.Glob(objects)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return errors.New("no object in " + objects)
	}
	var lines [][]byte
	for _, path := range paths {
		row, err := read(path, string(health))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		line, err := json.Marshal(row)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	fmt.Printf("[\n%s\n]\n", bytes.Join(lines, []byte(",\n")))
	return nil
}

func read(path, health string) (row, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return row{}, err
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return row{}, err
	}
	r := row{State: strings.TrimSuffix(filepath.Base(path), ".json")}
	if r.Kstatus, r.ArgoCD, err = ask(object, health); err != nil {
		return row{}, err
	}
	if object.GetKind() == "DlqPolicy" {
		if r.Actions, err = offered(object.Object); err != nil {
			return row{}, err
		}
	}
	object.SetGeneration(object.GetGeneration() + 1)
	r.EditedKstatus, r.EditedArgoCD, err = ask(object, health)
	return r, err
}

func ask(object *unstructured.Unstructured, health string) (string, string, error) {
	computed, err := status.Compute(object)
	if err != nil {
		return "", "", err
	}
	argo, err := argocd(object.Object, health)
	return computed.Status.String(), argo, err
}

// argocd says what the health script makes of an object.
func argocd(object map[string]any, health string) (string, error) {
	l, err := interpret(object, health)
	if err != nil {
		return "", err
	}
	defer l.Close()
	result, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return "", errors.New("the health script returned no table")
	}
	message, ok := l.GetField(result, "message").(lua.LString)
	if !ok || message == "" {
		return "", errors.New("the health script said nothing")
	}
	switch said := l.GetField(result, "status").String(); said {
	case "Healthy", "Progressing", "Degraded", "Suspended":
		return said, nil
	default:
		return "", fmt.Errorf("Argo CD knows no health %q", said)
	}
}
