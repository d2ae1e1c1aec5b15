"""Requests made from the server's own OpenAPI schema, valid and not: never a fault of the server."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, settings
from served import local_settings
from tiny_pipeline import tiny_pipeline

from v2l.server.app import create_app

APP = create_app(tiny_pipeline(context=256), local_settings(new_tokens=8))
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP, headers={"Host": "127.0.0.1"})


@SCHEMA.parametrize()
@settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
def test_no_request_of_the_schema_is_a_fault(case: schemathesis.Case) -> None:
    answer = case.call(headers={"Host": "127.0.0.1"})
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
