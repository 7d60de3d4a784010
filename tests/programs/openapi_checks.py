"""What Schemathesis checks, besides its own rules and instead of two of them."""

import json

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

CODES = {
    502: {"worker_lost", "bad_answer"},
    503: {"queue_full", "queue_timeout", "no_worker", "busy", "draining", "jobs_full"},
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
    """As the rule that it stands for. But what is too long for a head is refused too; a text is what everything is
    in a query and a form; and in JSON a value may be written as a text, and a text as a value."""
    try:
        return negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData:
        if not (400 <= response.status_code < 500 or is_written_otherwise(case)):
            raise


@schemathesis.check
def right_values_are_taken(ctx, response, case):
    """As the rule that it stands for; but what a program itself refuses, no schema can know."""
    try:
        return positive_data_acceptance(ctx, response, case)
    except RejectedPositiveData:
        if response.headers.get("httpipe-failure") != ["program_error"]:
            raise


def is_written_otherwise(case):
    raw = case.operation.definition.raw
    # Where a query may have any names, none is wrong.
    if any(parameter.get("explode") for parameter in raw.get("parameters", [])):
        return True
    # A list of one is written as its element.
    if any(isinstance(value, list) and len(value) == 1 for value in (case.query or {}).values()):
        return True
    if not isinstance(case.body, dict):
        return False
    body = raw["requestBody"]["content"][case.media_type]["schema"]
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
