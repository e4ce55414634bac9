"""The OpenAPI document says what the server does: every address stands in it, and made requests are answered by it."""

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="pip install 'reid_jax[test]'")

from hypothesis import HealthCheck, given, settings  # noqa: E402

from reid_jax.serve.limits import Limits  # noqa: E402
from reid_jax.serve.openapi import document  # noqa: E402


def test_every_address_of_the_interface_stands_in_the_document(client):
    served = {
        (route.path, method.lower())
        for route in client.app.routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith("/api/") and route.path != "/api/openapi.json"
    }
    described = {(path, method) for path, calls in document(Limits())["paths"].items() for method in calls}
    assert described == served


def test_the_page_about_it_needs_nothing_from_elsewhere(client):
    page = client.get("/api").text
    for path in document(Limits())["paths"]:
        assert path in page
    assert "http://" not in page
    assert "https://" not in page


SCHEMA = schemathesis.openapi.from_dict(document(Limits()))
CALLS = [(path, method) for path, calls in document(Limits())["paths"].items() for method in calls]
MODES = {mode.value: mode for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)}
# But for a status, which takes nothing that could be wrong.
REQUESTS = [(*call, mode) for call in CALLS for mode in MODES if (call[0], mode) != ("/api/status", "negative")]


@pytest.mark.parametrize(("path", "method", "mode"), REQUESTS)
def test_made_requests_are_answered_as_the_document_says(start, running, path, method, mode):
    address = running(start(rate=0.0)).rstrip("/")

    @given(case=SCHEMA[path][method.upper()].as_strategy(generation_mode=MODES[mode]))
    @settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        excluded = [schemathesis.checks.positive_data_acceptance]  # whether bytes are an image, no schema says
        if isinstance(case.media_type, str) and case.media_type.startswith("multipart/"):
            excluded.append(schemathesis.checks.negative_data_rejection)  # in a form everything is a text
        case.call_and_validate(base_url=address, excluded_checks=excluded)

    ask()
