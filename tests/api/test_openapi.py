"""The OpenAPI document and the application say the same, whatever a client sends (schemathesis)."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from streams.api.app import PREFIX, application
from tests.api.conftest import parts


def _works(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> bool | None:
    """Nothing fails, but that Kafka, which is not here, does not answer."""
    assert response.status_code < 500 or response.status_code == 503
    return None


_APP = application(parts())
#: The event stream does not end; tests/api/test_stream.py reads it.
_SCHEMA = schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", _APP).exclude(path=f"{PREFIX}/stream")
_CHECKS = (_works, status_code_conformance, content_type_conformance, response_schema_conformance)


# schemathesis draws from `random` where hypothesis would have it draw from its own.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@_SCHEMA.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_each_operation_answers_as_it_is_documented(case: schemathesis.Case) -> None:
    """No 5xx, and status, type and body of each answer are those of the document."""
    case.call_and_validate(headers={"X-Caller": "default/owner"}, checks=list(_CHECKS))
