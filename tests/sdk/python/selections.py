"""Four entries that differ in everything a filter can look at, and which of them each filter selects."""

START = 1_700_000_000_000
ORDERS = "https://app.example.com/api/orders?page=2&by=date"
INVOICES = "https://app.example.com/api/invoices"

ENTRIES = [
    {
        "dlqId": "one",
        "workflowRunId": "wfr_one",
        "workflowUrl": ORDERS,
        "workflowCreatedAt": START,
        "createdAt": START + 700,
        "failedAt": START + 1000,
        "labels": ["R&D 100%+ü", "dark"],
        "callerIp": "192.0.2.1",
        "flowControlKey": "slow",
        "flowControlValue": "parallelism=1, rate=5, period=1h",
        "retryDelay": "1000 * retried",
        "failureCallback": "https://app.example.com/failed",
        "failureFunctionState": "CALLBACK_FAIL",
        "retries": 7,
        "responseStatus": 503,
    },
    {
        "dlqId": "two",
        "workflowUrl": INVOICES,
        "failedAt": START + 2000,
        "labels": ["blue"],
        "callerIp": "2001:db8::2",
        "responseStatus": 404,
    },
    {"dlqId": "three", "failedAt": START + 3000},
    {"dlqId": "four", "failedAt": START + 4000},
]
ALL = ["one", "two", "three", "four"]

FILTERS = [
    ({"message_id": "msg_two"}, ["two"]),
    ({"url": ORDERS}, ["one"]),
    ({"response_status": 404}, ["two"]),
    ({"from_time": START + 3000}, ["three", "four"]),
    ({"to_time": START + 2000}, ["one", "two"]),
    ({"caller_ip": "2001:db8::2"}, ["two"]),
    ({"label": "dark"}, ["one"]),
    ({"label": "R&D 100%+ü"}, ["one"]),
    ({"from_time": START + 2000, "to_time": START + 3000}, ["two", "three"]),
    ({"url": ORDERS, "response_status": 404}, []),
    # No workflow entry has one of these.
    ({"url_group": "group"}, []),
    ({"queue": "queue"}, []),
    ({"schedule_id": "schedule"}, []),
]
