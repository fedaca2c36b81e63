// Four entries that differ in everything a filter can look at, and which of them each filter selects.
export const START = 1_700_000_000_000;
const APP = "https://app.example.com/api";

export const ENTRIES = [
  {
    dlqId: "one",
    workflowRunId: "wfr_alpha_1",
    workflowUrl: `${APP}/orders`,
    workflowCreatedAt: START,
    failedAt: START + 1000,
    labels: ["red"],
    callerIp: "192.0.2.1",
    flowControlKey: "slow",
    flowControlValue: "parallelism=1",
    failureFunctionState: "CALLBACK_FAIL",
    responseStatus: 500,
  },
  {
    dlqId: "two",
    workflowRunId: "wfr_alpha_2",
    workflowUrl: `${APP}/orders?page=2&by=date`,
    workflowCreatedAt: START + 1,
    failedAt: START + 2000,
    labels: ["R&D 100%+ü", "dark"],
    callerIp: "192.0.2.2",
    flowControlKey: "fast lane",
    flowControlValue: "rate=2",
    failureFunctionState: "CALLBACK_SUCCESS",
    responseStatus: 503,
  },
  {
    dlqId: "three",
    workflowRunId: "wfr_beta_3",
    workflowUrl: `${APP}/invoices`,
    workflowCreatedAt: START + 2,
    failedAt: START + 3000,
    labels: ["blue"],
    callerIp: "2001:db8::3",
    flowControlKey: "fair",
    flowControlValue: "rate=3",
    failureFunctionState: "CALLBACK_INPROGRESS",
    responseStatus: 404,
  },
  {
    dlqId: "four",
    workflowRunId: "wfr_gamma_4",
    workflowUrl: `${APP}/refunds`,
    workflowCreatedAt: START + 3,
    failedAt: START + 4000,
    failureFunctionState: "CALLBACK_CANCELED",
    responseStatus: 500,
  },
];

/** Filters that workflow's list, resume, restart and delete share, and what they select. */
export const FILTERS = [
  ["fromDate as a number, inclusive", { fromDate: START + 2000 }, ["two", "three", "four"]],
  ["fromDate as a Date", { fromDate: new Date(START + 2001) }, ["three", "four"]],
  ["toDate as a number, inclusive", { toDate: START + 2000 }, ["one", "two"]],
  ["toDate as a Date", { toDate: new Date(START + 1999) }, ["one"]],
  ["a time span", { fromDate: START + 2000, toDate: new Date(START + 3000) }, ["two", "three"]],
  ["callerIp", { callerIp: "2001:db8::3" }, ["three"]],
  ["callerIp, several", { callerIp: ["192.0.2.1", "192.0.2.2", "192.0.2.9"] }, ["one", "two"]],
  ["label", { label: "dark" }, ["two"]],
  ["label that needs encoding", { label: "R&D 100%+ü" }, ["two"]],
  ["label, several", { label: ["red", "blue"] }, ["one", "three"]],
  ["flowControlKey", { flowControlKey: "slow" }, ["one"]],
  ["flowControlKey, several", { flowControlKey: ["fast lane", "fair"] }, ["two", "three"]],
  ["workflowUrl", { workflowUrl: `${APP}/orders` }, ["one"]],
  [
    "workflowUrl, several",
    { workflowUrl: [`${APP}/orders?page=2&by=date`, `${APP}/refunds`] },
    ["two", "four"],
  ],
  ["workflowRunId", { workflowRunId: "wfr_alpha_2" }, ["two"]],
  ["the start of workflowRunId", { workflowRunId: "wfr_alpha" }, ["one", "two"]],
  ["workflowCreatedAt", { workflowCreatedAt: START + 2 }, ["three"]],
  ["failureFunctionState", { failureFunctionState: "CALLBACK_CANCELED" }, ["four"]],
  ["fields joined by AND", { label: ["red", "blue"], callerIp: "2001:db8::3", toDate: START + 3000 }, ["three"]],
  ["fields that no entry matches together", { label: "red", workflowCreatedAt: START + 2 }, []],
];

/** Filters that only list has. */
export const LIST_FILTERS = [
  ["url (deprecated)", { url: `${APP}/invoices` }, ["three"]],
  ["responseStatus (deprecated)", { responseStatus: 500 }, ["one", "four"]],
];
