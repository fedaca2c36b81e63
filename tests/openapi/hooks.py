"""What schemathesis cannot know by itself: which entries there are, and what the document cannot say."""

import functools
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation

API = os.environ["DLQ_SIMULATOR_API"]
ADMIN = os.environ["DLQ_SIMULATOR_ADMIN"]
# The name of a DLQ and of its token.
DLQ = os.environ["DLQ_SIMULATOR_TOKEN"]

EXPRESSIONS = ["1000", "(1 + retried) * 1000", "pow(2, retried) * 1000", "min(86400000, exp(retried) * 2.5)"]


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # Nothing satisfies what is always refused, so no call with these two would be valid.
    refused = ("#/components/parameters/host", "#/components/parameters/path")
    for path in raw_schema["paths"].values():
        for place in [path, *(path[method] for method in ("get", "post", "delete") if method in path)]:
            parameters = place.get("parameters", [])
            place["parameters"] = [parameter for parameter in parameters if parameter["$ref"] not in refused]
    for name, parameter in raw_schema["components"]["parameters"].items():
        if parameter["in"] == "header" and "pattern" in parameter["schema"]:
            make_values_from_the_pattern(name, parameter["schema"])


def make_values_from_the_pattern(name, schema):
    # Left alone, schemathesis draws no header with a colon, a slash or an equals sign in it. And no pattern can say
    # that parentheses are balanced.
    printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
    matching = st.from_regex(re.compile(schema["pattern"]), fullmatch=True, alphabet=printable)
    schema["format"] = name
    schemathesis.openapi.format(name, st.sampled_from(EXPRESSIONS) if name == "retryDelay" else matching)


@schemathesis.hook
def before_call(context, case, kwargs):
    # The pattern of a cursor is not all there is to one: only the service can make it.
    if is_text(case.query.get("cursor")) and case.query["cursor"].endswith("=="):
        case.query["cursor"] = a_cursor()
    # What leads on to other calls has to find something.
    if case.meta.phase.name == "stateful" and case.operation.definition.raw["operationId"].startswith("list"):
        case.query = {name: value for name, value in case.query.items() if name == "count"}
    if "dlqId" in case.path_parameters:
        cancels = case.operation.definition.raw["operationId"] == "cancelFailureFunction"
        put_an_entry_there(case.path_parameters["dlqId"], "CALLBACK_INPROGRESS" if cancels else "CALLBACK_FAIL")


@functools.cache
def a_cursor():
    headers = {"Authorization": f"Bearer {DLQ}"}
    request = urllib.request.Request(f"{API}/v2/workflows/dlq?count=1", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)["cursor"]


def put_an_entry_there(dlq_id, state):
    # An ID that is made up becomes one of an entry, unless there was an entry of that ID before.
    if not is_text(dlq_id) or not dlq_id:
        return
    entry = {"dlqId": urllib.parse.unquote(dlq_id), "failureFunctionState": state}
    request = urllib.request.Request(f"{ADMIN}/dlqs/{DLQ}/entries", json.dumps({"entries": [entry]}).encode())
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except urllib.error.HTTPError as refusal:
        if refusal.code != 409:
            raise


@schemathesis.hook
def filter_failure(context, failure, case, response):
    return not isinstance(failure, AcceptedNegativeData) or not was_valid_as_sent(case, response)


def was_valid_as_sent(case, response):
    """Whether the service was right to accept a call: what was wrong with it was nothing that it reads."""
    if "x-schemathesis-unknown-property" in case.headers:
        return True
    if any(case.meta.is_negative_at(place) for place in ParameterLocation if place != ParameterLocation.QUERY):
        return False
    # Parameters without a value are left out here, as the service does.
    sent = urllib.parse.parse_qs(urllib.parse.urlsplit(response.request.url).query)
    given = [parameter for parameter in case.operation.query if parameter.name in sent]
    read = {parameter.name: as_read(parameter, sent[parameter.name]) for parameter in given}
    return case.operation.query.get_strict_validator().is_valid(read)


def as_read(parameter, values):
    if parameter.unoptimized_schema.get("type") == "array":
        return list(dict.fromkeys(values))
    number = parameter.unoptimized_schema.get("type") == "integer" and values[0].isdigit()
    return values if len(values) > 1 else int(values[0]) if number else values[0]


@schemathesis.check
def refusals_have_a_reason(ctx, response, case):
    if 400 <= response.status_code < 500:
        body = json.loads(response.content)
        assert list(body) == ["error"] and is_text(body["error"]) and body["error"], body


@schemathesis.check
def deleting_one_entry_answers_nothing(ctx, response, case):
    if case.method == "DELETE" and case.path_parameters and response.status_code == 200:
        assert response.content == b"", response.content
        assert "content-type" not in response.headers, response.headers


def is_text(value):
    return isinstance(value, str)
