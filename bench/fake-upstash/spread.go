package main

import (
	"fmt"
	"math"
)

// spreads say how far along a time span the i-th of n entries failed, from 0 to 1. All of them ascend.
var spreads = map[string]func(i, n int) float64{
	// As many in each hour as in any other.
	"even": func(i, n int) float64 { return float64(i) / float64(n) },
	// An outage that just began, after a long time with few failures: half of the entries are in the last thirtieth.
	"tail": func(i, n int) float64 { return 1 - math.Expm1(math.Log(1000)*(1-float64(i)/float64(n)))/999 },
	// All in the last second of a day: no window of time divides them into fair parts.
	"second": func(i, n int) float64 { return 1 - (1-float64(i)/float64(n))/86400 },
}

// times returns when the i-th of n entries failed, in ms.
func times(spread string, from, to int64, n int) (func(i int) int64, error) {
	along, ok := spreads[spread]
	if !ok {
		return nil, fmt.Errorf("there is no spread %q", spread)
	}
	return func(i int) int64 { return from + int64(along(i, n)*float64(to-from)) }, nil
}
