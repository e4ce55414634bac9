"""A request's body as plain values: files and texts of a form, an object of JSON; bounded while it arrives."""

import asyncio
import contextlib
import dataclasses
import tempfile
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from reid_jax.errors import InputError, shown
from reid_jax.files.json_text import parse_json
from reid_jax.serve.refusal import Refusal

_MOST_FIELDS = 200
_LONGEST_FIELD = 20_000  # bytes


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file of a form. name: what the client calls it, which is no path of this machine. file: open for reading."""

    name: str
    file: tempfile.SpooledTemporaryFile
    size: int  # bytes

    def read(self) -> bytes:
        """All of it."""
        self.file.seek(0)
        return self.file.read()


class Form:
    """The fields of a form, each name any number of times; names that nobody asks for are refused by `end`."""

    def __init__(self, data: FormData):
        self._data = data
        self._left = set(data.keys())

    def files(self, name: str, most: int, most_bytes: int) -> list[Upload]:
        """The files of a field; raises Refusal: 422 for none, too many or an empty one, 413 for a too large one."""
        found = self._values(name)
        if not found or any(isinstance(value, str) for value in found):
            raise Refusal(422, f"the form has no file {name!r}; send multipart/form-data with one")
        if len(found) > most:
            raise Refusal(422, f"the form has {len(found)} files {name!r}; at most {most} are taken")
        for value in found:
            if not value.size:
                raise Refusal(422, f"{shown(value.filename)} is empty (0 bytes)")
            if value.size > most_bytes:
                raise Refusal(
                    413, f"{shown(value.filename)} has {value.size:,} bytes; at most {most_bytes:,} are taken"
                )
        return [Upload(value.filename or "", value.file, value.size) for value in found]

    def texts(self, name: str) -> list[str]:
        """The texts of a field; raises Refusal (422) where one is a file."""
        found = self._values(name)
        if any(isinstance(value, UploadFile) for value in found):
            raise Refusal(422, f"{name!r} is a file; send a text")
        return found

    def text(self, name: str) -> str:
        """The text of a field that stands at most once, '' where it does not; raises Refusal (422) otherwise."""
        found = self.texts(name)
        if len(found) > 1:
            raise Refusal(422, f"{name!r} stands {len(found)} times; send it once")
        return found[0] if found else ""

    def end(self) -> None:
        """Raises Refusal (422) for fields that were not asked for: a misspelt filter would search everything."""
        if self._left:
            raise Refusal(422, f"there is no field {shown(min(self._left))!r} in this form; see /api")

    def _values(self, name: str) -> list:
        self._left.discard(name)
        return self._data.getlist(name)


@contextlib.asynccontextmanager
async def read_form(request: Request, most_bytes: int, seconds: float) -> AsyncIterator[Form]:
    """Gives the form of a request, whose files are gone when the block ends.

    Files above a megabyte lie in nameless temporary files. Raises Refusal: 413 for more than `most_bytes`, 408 where it
    takes longer than `seconds` to arrive, 415 where it is no form, 400 where it is damaged.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    stream = _bounded(request, most_bytes)
    if kind == "multipart/form-data":
        parser = MultiPartParser(
            request.headers, stream, max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD
        )
    elif kind == "application/x-www-form-urlencoded":
        parser = FormParser(request.headers, stream, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD)
    else:
        raise Refusal(415, f"the body is {shown(kind) or 'of no kind'!r}; send multipart/form-data")
    try:
        async with asyncio.timeout(seconds):
            data = await parser.parse()
    except TimeoutError as error:
        raise Refusal(408, f"the form did not arrive within {seconds:g} seconds") from error
    except MultiPartException as error:
        raise Refusal(400, f"the form cannot be read ({shown(error.message)})") from error
    except (FormParserError, UnicodeError, LookupError, KeyError, ValueError) as error:
        raise Refusal(400, f"the form cannot be read ({shown(error)})") from error
    try:
        yield Form(data)
    finally:
        await data.close()


async def read_object(request: Request, most_bytes: int, seconds: float) -> dict[str, object]:
    """Gives the JSON object of a request; raises Refusal as `read_form` does, and 422 for other JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the body is {shown(kind) or 'of no kind'!r}; send application/json")
    try:
        async with asyncio.timeout(seconds):
            body = b"".join([piece async for piece in _bounded(request, most_bytes)])
    except TimeoutError as error:
        raise Refusal(408, f"the body did not arrive within {seconds:g} seconds") from error
    try:
        value = parse_json(body)
    except InputError as error:
        raise Refusal(400, f"the body {error}") from error
    if not isinstance(value, dict):
        raise Refusal(422, "the body is no JSON object; see /api")
    return value


async def _bounded(request: Request, most: int) -> AsyncIterator[bytes]:
    """The pieces of the body; raises Refusal once they are too many, before they are read where the header says so."""
    claim = request.headers.get("content-length", "")
    if claim.isdecimal() and int(claim) > most:
        raise Refusal(413, f"the request has {int(claim):,} bytes; at most {most:,} are taken")
    total = 0
    try:
        async for piece in request.stream():
            total += len(piece)
            if total > most:
                raise Refusal(413, f"the request has more than the {most:,} bytes that are taken")
            yield piece
    except ClientDisconnect as error:
        raise Refusal(400, "the client went away") from error
