// Command cronjob-instants prints the table of instants that the operator's schedules are tested against: for each case
// the next five instants that a Kubernetes CronJob has, or why CronJob refuses the schedule.
//
// Write the table anew, from the repository's root:
//
//	go -C hack/cronjob-instants run . > tests/data/cronjob_instants.json
//
// The cases lie in the past, or where the rules of a zone have long been settled, so that one tz database answers as
// another: the table is the same with 2025b and 2025c.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	_ "time/tzdata"
)

const instants = 5

// testCase is a schedule, the zone it is read in (none means UTC) and the time after which instants are asked for.
type testCase struct {
	Schedule string `json:"schedule"`
	Zone     string `json:"zone,omitempty"`
	Start    string `json:"start"`
	// differs says why CronJob's answer is not followed.
	differs string
	// refused says that the operator refuses the schedule, as CronJob does or instead of it.
	refused bool
}

// row is a case with what is expected of the operator: instants, none when the schedule never fires, or a refusal.
type row struct {
	testCase
	Next    *[]string `json:"next,omitempty"`
	Refused string    `json:"refused,omitempty"`
	// Differs says why CronJob's own answer, kept in CronJob, is not followed.
	Differs string    `json:"differs,omitempty"`
	CronJob *[]string `json:"cronJob,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	cases, err := allCases()
	if err != nil {
		return err
	}
	var problems []error
	seen := map[string]bool{}
	var lines [][]byte
	for _, c := range cases {
		name := fmt.Sprintf("%q in %q after %s", c.Schedule, c.Zone, c.Start)
		if seen[name] {
			problems = append(problems, fmt.Errorf("%s: twice in the cases", name))
			continue
		}
		seen[name] = true
		row, err := answer(c)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		line, err := marshal(row)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(out, "[\n%s\n]\n", bytes.Join(lines, []byte(",\n")))
	return out.Flush()
}

// answer asks CronJob's library and reads the wall clock. Where the two disagree the case must say why, and only there.
func answer(c testCase) (row, error) {
	start, err := time.Parse(time.RFC3339Nano, c.Start)
	if err != nil {
		return row{}, err
	}
	schedule, refusal := parse(c)
	switch {
	case refusal == nil && c.refused && c.differs == "":
		return row{}, errors.New("CronJob accepts this")
	case refusal != nil && !c.refused:
		return row{}, fmt.Errorf("CronJob refuses this: %w", refusal)
	case refusal != nil:
		return row{testCase: c, Refused: refusal.Error()}, nil
	}
	theirs := follow(schedule, start)
	if c.refused {
		return row{testCase: c, Refused: c.differs, Differs: c.differs, CronJob: &theirs}, nil
	}
	ours, err := expected(schedule, start)
	if err != nil {
		return row{}, err
	}
	same := slices.Equal(ours, theirs)
	switch {
	case same && c.differs != "":
		return row{}, errors.New("CronJob agrees, but the case says that it differs")
	case !same && c.differs == "":
		return row{}, fmt.Errorf("CronJob has %v, the wall clock %v, and the case does not say why", theirs, ours)
	case same:
		return row{testCase: c, Next: &ours}, nil
	}
	return row{testCase: c, Next: &ours, Differs: c.differs, CronJob: &theirs}, nil
}

func marshal(row row) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(row); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(line.Bytes()), nil
}
