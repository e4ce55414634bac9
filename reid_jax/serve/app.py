"""The application: which address does what, and what every answer carries."""

import asyncio
import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid_jax.gallery.labels import Labels
from reid_jax.serve import fields
from reid_jax.serve.access import Access
from reid_jax.serve.forms import Form, read_form, read_object
from reid_jax.serve.limits import Limits
from reid_jax.serve.openapi import document
from reid_jax.serve.page_files import PageFiles
from reid_jax.serve.photos import parse_box
from reid_jax.serve.rate import RateLimit
from reid_jax.serve.refusal import Refusal, full_disk
from reid_jax.serve.service import FOLDERS, LabelRule, Service, archive_object

_HEADERS = {
    # Nothing but this server's own files, no code in the page itself, in no frame of another page.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without any, a browser's forms would hide their origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SMALL_BODY = 100_000  # bytes of a body without files
_GET_COST = 0.1
_ATTEMPTS = 10  # at the token, at once; one more every six seconds
_DRAINING = 10.0  # seconds to read what an answer does not need
_FREE = ("/static/", "/login")  # what needs no token

Answer = Callable[[Request], Awaitable[Response]]


def create_app(service: Service, access: Access) -> Starlette:
    """Returns the application over a service that was started."""
    pages = PageFiles(service.name, document(service.limits))
    return _App(service, access, pages).starlette()


class _App:
    def __init__(self, service: Service, access: Access, pages: PageFiles):
        self._service, self._access, self._pages = service, access, pages
        self._limits = service.limits

    def starlette(self) -> Starlette:
        routes = [
            ("GET", "/", self.page),
            ("GET", "/api", self.reference),
            ("GET", "/static/{name}", self.static),
            ("POST", "/login", self.login),
            ("GET", "/api/openapi.json", self.openapi),
            ("GET", "/api/status", self.status),
            ("POST", "/api/search", self.search),
            ("GET", "/api/images", self.list_images),
            ("POST", "/api/images", self.add_images),
            ("GET", "/api/images/{id}/crop", self.crop),
            ("POST", "/api/archives", self.add_archive),
            ("GET", "/api/archives/{id}", self.archive),
            ("DELETE", "/api/archives/{id}", self.stop_archive),
            ("POST", "/api/erase", self.erase),
        ]
        paths: dict[str, dict[str, Answer]] = {}
        for method, path, answer in routes:
            paths.setdefault(path, {})[method] = answer
        app = Starlette(
            routes=[Route(path, _by_method(answers), methods=list(answers)) for path, answers in paths.items()],
            exception_handlers={HTTPException: _not_there},
        )
        app.add_middleware(_Guard, access=self._access, service=self._service, pages=self._pages)
        return app

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self._pages.page)

    async def reference(self, request: Request) -> Response:
        return HTMLResponse(self._pages.reference)

    async def static(self, request: Request) -> Response:
        file = self._pages.static.get(request.path_params["name"])
        if file is None:
            raise Refusal(404, "there is no such file")
        headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.kind, headers=headers)

    async def login(self, request: Request) -> Response:
        async with read_form(request, _SMALL_BODY, self._limits.seconds) as form:
            given = form.text("token").strip()
        if not self._access.is_token(given):
            return HTMLResponse(self._pages.login("That is not the token."), 401)
        name, value = self._access.cookie()
        response = RedirectResponse("/", 303)
        response.set_cookie(
            name, value, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
        )
        return response

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(document(self._limits))

    async def status(self, request: Request) -> Response:
        return JSONResponse(await self._service.status())

    async def search(self, request: Request) -> Response:
        limits = self._limits
        with self._service.admitted():
            async with read_form(request, limits.request_bytes, limits.seconds) as form:
                boxes = [parse_box(text) for text in form.texts("box")]
                where = fields.filter_of(form.texts)
                top = fields.whole("top", form.text("top") or "20", 1, limits.results)
                at = form.text("threshold")
                threshold = fields.number("threshold", at, 0, 2) if at else None
                by_person = _flag("by_person", form.text("by_person"))
                uploads = form.files("image", limits.photos, limits.photo_bytes)
                form.end()
                if len(boxes) > len(uploads):
                    raise Refusal(422, f"the form has {len(boxes)} boxes and {len(uploads)} images; give one for each")
                boxes += [None] * (len(uploads) - len(boxes))
                photos = [
                    (fields.source(upload.name), upload.read, box) for upload, box in zip(uploads, boxes, strict=True)
                ]
                return JSONResponse(await self._service.search(photos, where, top, threshold, by_person))

    async def list_images(self, request: Request) -> Response:
        query = request.query_params

        def one(name: str, default: str) -> str:
            found = query.getlist(name)
            if len(found) > 1:
                raise Refusal(422, f"{name!r} stands {len(found)} times; send it once")
            return found[0] if found else default

        for name in query:
            if name not in ("camera", "person", "tag", "since", "until", "after", "limit"):
                raise Refusal(422, f"there is no parameter {fields.shown(name)!r} here; see /api")
        after = fields.whole("after", one("after", "0"), 0, fields.HIGHEST_ID)
        limit = fields.whole("limit", one("limit", "60"), 1, self._limits.results)
        return JSONResponse(await self._service.page(fields.filter_of(query.getlist), after, limit))

    async def add_images(self, request: Request) -> Response:
        limits = self._limits
        with self._service.admitted():
            async with read_form(request, limits.request_bytes, limits.seconds) as form:
                rule = _label_rule(form)
                sources = form.texts("source")
                uploads = form.files("image", limits.images, limits.photo_bytes)
                form.end()
                if sources and len(sources) != len(uploads):
                    raise Refusal(
                        422, f"the form has {len(sources)} sources and {len(uploads)} images; give one for each"
                    )
                names = sources or [upload.name for upload in uploads]
                images = [(name, upload.read) for name, upload in zip(names, uploads, strict=True)]
                return JSONResponse(await self._service.add(images, rule))

    async def crop(self, request: Request) -> Response:
        id = fields.whole("id", request.path_params["id"], 1, fields.HIGHEST_ID)
        return Response(await self._service.crop(id), media_type="image/jpeg")

    async def add_archive(self, request: Request) -> Response:
        limits = self._limits
        with self._service.place_for_archive():
            async with read_form(request, limits.archive_bytes + _SMALL_BODY, 30 * limits.seconds) as form:
                rule = _label_rule(form)
                (upload,) = form.files("archive", 1, limits.archive_bytes)
                form.end()
                upload.file.rollover()
                file = os.fdopen(os.dup(upload.file.fileno()), "rb")  # the form's own is closed with it
            archive = await self._service.add_archive(file, rule)
        return JSONResponse(archive_object(archive), 202, {"Location": f"/api/archives/{archive.id}"})

    async def archive(self, request: Request) -> Response:
        return JSONResponse(archive_object(self._service.archive(request.path_params["id"])))

    async def stop_archive(self, request: Request) -> Response:
        archive = self._service.archive(request.path_params["id"])
        archive.stop.set()
        return JSONResponse(archive_object(archive))

    async def erase(self, request: Request) -> Response:
        value = await read_object(request, _SMALL_BODY, self._limits.seconds)
        return JSONResponse({"erased": await self._service.erase(fields.filter_of_object(value))})


class _Guard:
    """What stands before every address: the site, the token, the rate; and the headers of every answer."""

    def __init__(self, app: ASGIApp, access: Access, service: Service, pages: PageFiles):
        self._app, self._access, self._pages = app, access, pages
        self._limits = service.limits
        self._rate = RateLimit(service.limits.rate, service.limits.burst)
        self._attempts = RateLimit(1 / 6, _ATTEMPTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        body = _Body(receive, self._limits)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.drain()
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")  # what was erased stays in no browser
            await send(message)

        try:
            answer = self._refused(method, path, Headers(scope=scope), (scope.get("client") or ("",))[0])
        except Refusal as refusal:
            answer = refusal.response()
        await (answer or self._app)(scope, body.receive, with_headers)

    def _refused(self, method: str, path: str, headers: Headers, address: str) -> Response | None:
        """What is answered in place of what was asked; None where it may go on."""
        self._access.check_site(method, path, headers)
        if wait := self._rate.wait(address, _GET_COST if method in ("GET", "HEAD") else 1.0):
            raise Refusal(429, "too many requests from this address", wait)
        if path == "/login" and (wait := self._attempts.wait(address)):
            raise Refusal(429, "too many attempts at the token", wait)
        if path.startswith(_FREE) or self._access.knows_token(headers):
            return None
        if "authorization" in headers and (wait := self._attempts.wait(address)):
            raise Refusal(429, "too many attempts at the token", wait)
        if method == "GET" and path in ("/", "/api"):
            return HTMLResponse(self._pages.login(""), 401)
        raise Refusal(401, "this server asks for its token: Authorization: Bearer TOKEN")


class _Body:
    """What arrives of a request, the rest of which is read before an answer is sent.

    A client that still sends while the connection is closed learns of a broken connection, and not of the answer.
    """

    def __init__(self, receive: Receive, limits: Limits):
        self._receive, self._limits = receive, limits
        self._total, self._more = 0, True

    async def receive(self) -> Message:
        message = await self._receive()
        self._total += len(message.get("body", b""))
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Reads what is left; no more than a request may have, and not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAINING):
                while self._more and self._total <= self._limits.request_bytes:
                    await self.receive()


def _by_method(answers: dict[str, Answer]) -> Answer:
    """One endpoint for the methods of an address, whose errors become answers."""

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return await answers[method](request)
        except Refusal as refusal:
            return refusal.response()
        except Exception as error:
            refusal = full_disk(error)
            if refusal is None:
                traceback.print_exception(error, file=sys.stderr)
                refusal = Refusal(500, "something went wrong in the server, which has printed it")
            return refusal.response()

    functools.update_wrapper(endpoint, next(iter(answers.values())))
    return endpoint


async def _not_there(request: Request, error: HTTPException) -> Response:
    words = {404: "there is nothing at this address; see /api", 405: "this address has other methods; see /api"}
    response = Refusal(error.status_code, words.get(error.status_code, error.detail)).response()
    response.headers.update(error.headers or {})
    return response


def _label_rule(form: Form) -> LabelRule:
    """The fields camera, person, time, tag and folders of a form that adds images; raises Refusal (422)."""
    folders = form.text("folders")
    if folders not in FOLDERS:
        raise Refusal(422, f"'folders' is {fields.shown(folders)!r}; give person, camera or nothing")
    labels = Labels(
        camera=fields.text("camera", form.text("camera")),
        person=fields.text("person", form.text("person")),
        time=fields.time("time", form.texts("time")),
        tags=fields.tags(form.texts("tag")),
    )
    return LabelRule(labels, folders)


def _flag(name: str, value: str) -> bool:
    if value not in ("", "true", "false"):
        raise Refusal(422, f"{name!r} is {fields.shown(value)!r}; give true or false")
    return value == "true"
