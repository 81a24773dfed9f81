"""The API does what its OpenAPI description says, whatever it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.schemas import BaseSchema

from tests.site import Site, start_site

_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run whose configuration may be written to."""
    folder = tmp_path_factory.mktemp("site")
    config = folder / "watch.yaml"
    config.write_text("cameras: {demo: {source: 'demo:0'}}\n")
    with start_site(folder, config=config) as site:
        yield site


@pytest.fixture
def described(site: Site) -> BaseSchema:
    return schemathesis.openapi.from_url(site.url("api/openapi.json"))


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=_SLOW, database=None)
def test_every_operation_does_what_is_said_of_it(case: schemathesis.Case) -> None:
    case.call_and_validate(timeout=20)
