"""What is answered where a request cannot be: one line, and the status code that says whose fault it is."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

from reid_jax.errors import disk_failure, one_line


class Refusal(Exception):
    """A request is refused.

    status: the HTTP status code. message: what is wrong, in one line. wait: seconds after which to try again, 0 where
    that does not help. more: what the answer holds beside the message.
    """

    def __init__(self, status: int, message: object, wait: int = 0, more: Mapping[str, object] | None = None):
        self.status = status
        self.message = one_line(message)
        self.wait = wait
        self.more = dict(more or {})
        super().__init__(self.message)

    def response(self) -> JSONResponse:
        """The answer as JSON: {"error": message}."""
        headers = {"Retry-After": str(self.wait)} if self.wait else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": self.message, **self.more}, self.status, headers)


def full_disk(error: BaseException, kept: str = "nothing of this request was kept") -> Refusal | None:
    """The refusal for a full, read-only or failing disk that stands behind an error; None for any other error.

    kept: what became of what was asked.
    """
    words = disk_failure(error)
    return Refusal(507, f"the server's disk: {words}; {kept}") if words else None
