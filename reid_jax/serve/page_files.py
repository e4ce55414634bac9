"""The files of the page, read once: nothing that a client sends is ever the name of a file here."""

import dataclasses
import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version

import jinja2

from reid_jax.data.image_kinds import IMAGE_ENDINGS

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclasses.dataclass(frozen=True)
class StaticFile:
    """A file that every client may have. tag: changes with its content."""

    data: bytes
    kind: str
    tag: str


class PageFiles:
    """The page, the description of the JSON interface, and what they load.

    static: by name. page, reference: HTML.
    """

    def __init__(self, name: str, document: Mapping[str, object]):
        self.static: dict[str, StaticFile] = {}
        for file in resources.files("reid_jax.serve").joinpath("page").iterdir():
            kind = _KINDS.get(f".{file.name.rpartition('.')[2]}")
            if kind:
                data = file.read_bytes()
                self.static[file.name] = StaticFile(data, kind, f'"{hashlib.sha256(data).hexdigest()[:16]}"')
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("reid_jax.serve", "page"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "name": _name,
            "resolved": lambda each: _resolved(document, each),
            "kind": _kind,
        }
        self._common = {"name": name, "version": version("reid_jax"), "accept": ",".join(IMAGE_ENDINGS)}
        self.page = self._render("page.html")
        self.reference = self._render("api.html", document=document)

    def login(self, wrong: str) -> str:
        """The page that asks for the token; `wrong` says what was wrong with the last one."""
        return self._render("login.html", wrong=wrong)

    def _render(self, template: str, **values: object) -> str:
        return self._environment.get_template(template).render(**self._common, **values)


def _resolved(document: Mapping[str, object], value: Mapping[str, object]) -> Mapping[str, object]:
    """The value, or what it refers to in the document."""
    if "$ref" in value:
        for key in value["$ref"].removeprefix("#/").split("/"):
            document = document[key]
        return document
    return value


def _name(reference: Mapping[str, str]) -> str:
    """The name of the schema or answer that a reference of the document leads to."""
    return reference["$ref"].rpartition("/")[2]


def _kind(schema: Mapping[str, object]) -> str:
    """What a value is, in a word or two."""
    if "$ref" in schema:
        return _name(schema)
    if "enum" in schema:
        return " or ".join(each or "nothing" for each in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if schema.get("format") == "binary" or "contentMediaType" in schema:
        return "file"
    bounds = [f"{sign} {schema[key]:,}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    return " ".join([kind, *bounds])
