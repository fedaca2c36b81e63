package main

func allCases() ([]testCase, error) {
	var cases []testCase
	for _, expression := range expressions {
		cases = append(cases, testCase{Schedule: expression, Start: monday}, testCase{Schedule: expression, Start: evening})
	}
	for _, schedule := range every {
		cases = append(cases, testCase{Schedule: schedule, Start: evening})
	}
	cases = append(cases, testCase{Schedule: "@every 1h", Start: "2026-11-20T12:00:00.75Z"})
	cases = append(cases, testCase{Schedule: "@every 1s", Zone: "Asia/Kathmandu", Start: "2026-11-20T12:00:00.25Z"})
	for _, schedule := range []string{"@every 0s", "@every 0", "@every -5m", "@every -0h"} {
		cases = append(cases, testCase{Schedule: schedule, Start: evening, differs: noPause, refused: true})
	}
	for _, t := range transitions {
		made, err := around(t)
		if err != nil {
			return nil, err
		}
		cases = append(cases, made...)
	}
	cases = append(cases, oneStart...)
	for _, schedule := range refusedSchedules {
		cases = append(cases, testCase{Schedule: schedule, Start: evening, refused: true})
	}
	for _, zone := range refusedZones {
		cases = append(cases, testCase{Schedule: "@hourly", Zone: zone, Start: evening, refused: true})
	}
	return cases, nil
}
