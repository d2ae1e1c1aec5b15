"""Requests made from the server's own OpenAPI schema, valid and not: never a fault of the server."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from served import local_settings, served
from tiny_pipeline import tiny_pipeline

QUICK = settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def answers_without_a_fault(case: schemathesis.Case) -> None:
    answer = case.call(timeout=60)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_of_the_schema_is_a_fault(mode: GenerationMode) -> None:
    with served(tiny_pipeline(context=256), local_settings(new_tokens=8)) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        for operation in schema.get_all_operations():
            cases = operation.ok().as_strategy(generation_mode=mode)
            try:
                QUICK(given(case=cases)(answers_without_a_fault))()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # a path without parameters has no wrong requests
