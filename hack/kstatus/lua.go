package main

import (
	lua "github.com/yuin/gopher-lua"
)

// interpret runs a script as Argo CD does: with the object as the global obj, and few libraries. What the script returned
// is on the top of the stack.
func interpret(object map[string]any, script string) (*lua.LState, error) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
		lua.OsLibName:     openSafeOS,
	} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			l.Close()
			return nil, err
		}
	}
	l.SetGlobal("obj", value(l, object))
	if err := l.DoString(script); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// openSafeOS opens what Argo CD leaves of the library os: the clock.
func openSafeOS(l *lua.LState) int {
	lua.OpenOs(l)
	whole := l.GetGlobal(lua.OsLibName).(*lua.LTable)
	safe := l.NewTable()
	for _, name := range []string{"date", "time"} {
		safe.RawSetString(name, whole.RawGetString(name))
	}
	l.SetGlobal(lua.OsLibName, safe)
	return 0
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
