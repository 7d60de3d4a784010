"""What Schemathesis checks, besides its own rules and instead of one of them."""

import json

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.specs.openapi.checks import negative_data_rejection

CODES = {
    502: {"worker_lost", "bad_answer"},
    503: {"queue_full", "queue_timeout", "no_worker", "busy", "draining"},
    504: {"timeout"},
}


@schemathesis.check
def failures_are_told(ctx, response, case):
    """A server may fail its callers in three ways only, and says so."""
    if response.status_code < 500:
        return
    assert response.status_code in CODES, "a failure of the server itself"
    problem = response.json()
    assert problem["code"] in CODES[response.status_code], problem
    assert response.headers["httpipe-failure"] == [problem["code"]], response.headers


@schemathesis.check
def wrong_values_are_refused(ctx, response, case):
    """As the rule that it stands for; but in JSON a value may be written as a text, and a text as a value."""
    try:
        return negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData:
        if not is_written_otherwise(case):
            raise


def is_written_otherwise(case):
    if case.media_type != "application/json" or not isinstance(case.body, dict):
        return False
    body = case.operation.definition.raw["requestBody"]["content"]["application/json"]["schema"]
    return any(differs(schema, case.body.get(name)) for name, schema in body.get("properties", {}).items())


def differs(schema, value):
    kind = schema.get("type")
    if kind == "string":
        return isinstance(value, (int, float))
    if kind in ("integer", "number", "boolean") and isinstance(value, str):
        try:
            json.loads(value.lstrip("-0") or "0")
        except ValueError:
            return False
        return True
    return False
