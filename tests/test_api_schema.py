"""Schemathesis: whatever the OpenAPI document allows, and what it forbids, gets an answer that it describes."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from whetstone.models.pool import ModelPool
from whetstone.server.app import create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]

TOKEN = {"Authorization": "Bearer a token of the test"}


schema = schemathesis.openapi.from_asgi(
    "/openapi.json",
    create_app(
        ModelPool({"echo": "scripted:echo?concurrency=8", "price": "scripted:number"}), token="a token of the test"
    ),
    headers=TOKEN,
)


@schema.parametrize()
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_every_request_gets_an_answer_that_the_document_describes(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS, headers=TOKEN)
