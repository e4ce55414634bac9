"""A gallery of colours and its server."""

import contextlib
import dataclasses
import threading

import pytest
from made_colours import SIZE, MeanColour, picture

for _package in ("starlette", "uvicorn", "python_multipart", "httpx2"):
    pytest.importorskip(_package, reason="pip install 'reid_jax[test]'")

from starlette.testclient import TestClient  # noqa: E402

from reid_jax import parallel  # noqa: E402
from reid_jax.describe import Encoder  # noqa: E402
from reid_jax.extractor import Extractor  # noqa: E402
from reid_jax.gallery import open_gallery  # noqa: E402
from reid_jax.gallery.adding import add_images  # noqa: E402
from reid_jax.gallery.labels import Labels  # noqa: E402
from reid_jax.serve.access import Access  # noqa: E402
from reid_jax.serve.app import create_app  # noqa: E402
from reid_jax.serve.limits import Limits  # noqa: E402
from reid_jax.serve.server import listening, server_of  # noqa: E402
from reid_jax.serve.service import Service  # noqa: E402
from reid_jax.tracking.thresholds import Calibration, Threshold, Thresholds  # noqa: E402

LABELS = {
    "red": Labels(camera="1", time=1000.0, person="Ada", tags=("staff",)),
    "rose": Labels(camera="2", time=2000.0, person="Ada"),
    "green": Labels(camera="2", time=3000.0, person="Ben"),
}


@pytest.fixture(scope="session")
def extractor():
    return Extractor(Encoder(MeanColour(), {"params": {}, "batch_stats": {}}, SIZE, parallel.create_mesh()))


@pytest.fixture
def gallery(extractor, tmp_path):
    """Red (1), rose (2) and green (3), of two cameras and two people, and two thresholds."""
    with open_gallery(tmp_path / "gallery", extractor, create=True) as gallery:
        add_images(gallery, extractor, list(LABELS), picture, labels=LABELS.get)
        thresholds = Thresholds(10, 1000, (Threshold(0.001, 0.3, 0.5), Threshold(0.01, 0.6, None)))
        gallery.attach(Calibration(thresholds, thresholds, digest=extractor.digest))
        yield gallery


@pytest.fixture
def start(gallery, extractor):
    """start(access=Access(), encoder=None, **limits) -> a client of a server over the gallery, with its `service`."""
    services = []

    def make(access=None, encoder=None, **limits):
        service = Service(gallery, extractor, dataclasses.replace(Limits(), **limits), "people")
        if encoder is not None:
            service._embedder._encoder = encoder
        service.start()
        services.append(service)
        app = create_app(service, access or Access())
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        client.service = service
        return client

    yield make
    for service in services:
        service.close()


@pytest.fixture
def client(start):
    return start()


@pytest.fixture
def running():
    """running(client, behind_proxy=False) -> the address at which the client's application answers."""
    threads = []
    with contextlib.ExitStack() as stack:

        def begin(client, behind_proxy=False):
            listener = stack.enter_context(listening("127.0.0.1", 0))
            server = server_of(client.app, behind_proxy)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            threads.append((server, thread))
            return f"http://127.0.0.1:{listener.getsockname()[1]}/"

        yield begin
        for server, thread in threads:
            server.should_exit = True
            thread.join(10)
