// Command kstatus says what deploy tools make of the policies in a folder, a JSON file each: kstatus, which Flux and Helm's
// --wait ask, and Argo CD with the health script that docs/gitops ships, in the interpreter that Argo CD has.
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
	// The same policy after an edit that the operator has not seen yet.
	EditedKstatus string `json:"editedKstatus"`
	EditedArgoCD  string `json:"editedArgocd"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
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
	policy := &unstructured.Unstructured{}
	if err := policy.UnmarshalJSON(text); err != nil {
		return row{}, err
	}
	r := row{State: strings.TrimSuffix(filepath.Base(path), ".json")}
	if r.Kstatus, r.ArgoCD, err = ask(policy, health); err != nil {
		return row{}, err
	}
	policy.SetGeneration(policy.GetGeneration() + 1)
	r.EditedKstatus, r.EditedArgoCD, err = ask(policy, health)
	return r, err
}

func ask(policy *unstructured.Unstructured, health string) (string, string, error) {
	computed, err := status.Compute(policy)
	if err != nil {
		return "", "", err
	}
	argo, err := argocd(policy.Object, health)
	return computed.Status.String(), argo, err
}

// argocd runs the script as Argo CD does: with the object as the global obj, few libraries, and one table returned.
func argocd(policy map[string]any, health string) (string, error) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
	} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", err
		}
	}
	l.SetGlobal("obj", value(l, policy))
	if err := l.DoString(health); err != nil {
		return "", err
	}
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

// value is a JSON value as Lua has it.
func value(l *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, field := range from {
			table.RawSetString(key, value(l, field))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, item := range from {
			table.Append(value(l, item))
		}
		return table
	case string:
		return lua.LString(from)
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	default:
		return lua.LNil
	}
}
