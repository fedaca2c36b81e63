package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const (
	actions   = "../../docs/gitops/argocd/actions"
	discovery = "discovery.lua"
	// What stands in the table for the time of asking.
	now = "the time of asking"
)

// offered runs each action that Argo CD would offer on a policy, and says what it changes, by path. Every script must be
// one of those that discovery knows.
func offered(policy map[string]any) (map[string]map[string]any, error) {
	script, err := os.ReadFile(filepath.Join(actions, discovery))
	if err != nil {
		return nil, err
	}
	l, err := interpret(policy, string(script))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", discovery, err)
	}
	defer l.Close()
	known, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("%s returned no table", discovery)
	}
	scripts, err := filepath.Glob(filepath.Join(actions, "*.lua"))
	if err != nil {
		return nil, err
	}
	if len(scripts) != count(known)+1 {
		return nil, fmt.Errorf("%s knows other actions than there are scripts", discovery)
	}
	changes := map[string]map[string]any{}
	for _, path := range scripts {
		name := strings.TrimSuffix(filepath.Base(path), ".lua")
		if name+".lua" == discovery {
			continue
		}
		action, ok := known.RawGetString(name).(*lua.LTable)
		if !ok {
			return nil, fmt.Errorf("%s does not know %s", discovery, name)
		}
		disabled, ok := action.RawGetString("disabled").(lua.LBool)
		if !ok {
			return nil, fmt.Errorf("%s does not say whether %s is disabled", discovery, name)
		}
		if disabled {
			continue
		}
		if changes[name], err = act(policy, path); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return changes, nil
}

// count is how many named fields a table has.
func count(table *lua.LTable) int {
	fields := 0
	table.ForEach(func(key, _ lua.LValue) {
		if _, ok := key.(lua.LString); ok {
			fields++
		}
	})
	return fields
}

// act runs an action's script, and says what differs in the object that it returns.
func act(policy map[string]any, path string) (map[string]any, error) {
	script, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l, err := interpret(policy, string(script))
	if err != nil {
		return nil, err
	}
	defer l.Close()
	after, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return nil, errors.New("it returned no object")
	}
	changes := map[string]any{}
	differences("", value(l, policy), after, changes)
	if len(changes) == 0 {
		return nil, errors.New("it is offered and changes nothing")
	}
	return changes, nil
}

func differences(path string, before, after lua.LValue, changes map[string]any) {
	old, isTable := before.(*lua.LTable)
	next, becomesTable := after.(*lua.LTable)
	if !becomesTable {
		if !isTable && reflect.DeepEqual(before, after) {
			return
		}
		text, isText := after.(lua.LString)
		if at, err := time.Parse(time.RFC3339, string(text)); isText && err == nil && time.Since(at) < time.Minute {
			changes[path] = now
		} else if after == lua.LNil {
			changes[path] = nil
		} else {
			changes[path] = after.String()
		}
		return
	}
	field := func(key lua.LValue) lua.LValue {
		if !isTable {
			return lua.LNil
		}
		return old.RawGet(key)
	}
	next.ForEach(func(key, value lua.LValue) {
		differences(path+"/"+key.String(), field(key), value, changes)
	})
	if isTable {
		old.ForEach(func(key, _ lua.LValue) {
			if next.RawGet(key) == lua.LNil {
				changes[path+"/"+key.String()] = nil
			}
		})
	}
}
