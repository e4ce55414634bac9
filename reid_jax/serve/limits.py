"""What a request may ask for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of requests, so that no client takes the machine from the others.

    photo_bytes: of an image file. Its pixels are bounded by `data.decode.MOST_PIXELS`, before any is decoded.
    request_bytes: of a request without a zip. archive_bytes: of a zip.
    photos: of one person, in a search. images: in one request that adds. results: of a search, or a page of a listing.
    open_requests: searches and additions at once, at work or waiting; beyond it is 503 with Retry-After.
    archives: zips at once, that arrive, wait or are being added; beyond it is 503 with Retry-After.
    rate, burst: requests a second from one address over time, and at once; a GET counts a tenth. Beyond it is 429.
    seconds: for the body of a request without a zip to arrive; of a zip thirty times that.
    """

    photo_bytes: int = 25_000_000
    request_bytes: int = 64_000_000
    archive_bytes: int = 2_000_000_000
    photos: int = 8
    images: int = 16
    results: int = 200
    open_requests: int = 64
    archives: int = 4
    rate: float = 50.0
    burst: int = 200
    seconds: float = 120.0
