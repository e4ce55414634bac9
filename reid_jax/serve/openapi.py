"""The OpenAPI 3.1 document of the JSON interface."""

from importlib.metadata import version

from reid_jax.serve import fields
from reid_jax.serve.limits import Limits
from reid_jax.serve.service import FOLDERS

_TEXT = {
    "type": "string",
    "maxLength": fields.LONGEST_TEXT,
    "pattern": f"^[^{fields.CONTROL[1:-1]}]*$".replace(r"\ud800-\udfff", ""),  # no JSON parser lets these through
}
_NAME = {
    "type": "string",
    "maxLength": fields.LONGEST_NAME,
    "pattern": f"^[^{fields.NEVER_KEPT[1:-1]}]*$".replace(r"\ud800-\udfff", ""),
}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": "number", "minimum": 0, "maximum": fields.LATEST}
_DISTANCE = {"type": "number", "minimum": 0}
_ID = {"type": "integer", "minimum": 1, "maximum": fields.HIGHEST_ID}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}

_REFUSALS = {
    400: "The request is damaged, or cannot be read",
    401: "The token is missing or wrong",
    403: "A page of another site made this request",
    404: "There is no such image or zip",
    405: "The address has other methods",
    408: "The body did not arrive in time",
    413: "A file, the request or a picture is too large",
    415: "The body is of another kind, or a file is no image",
    421: "The server does not answer to this name",
    422: "A field is missing, unknown or out of its range, or an image cannot be used",
    429: "Too many requests from this address; Retry-After says when to try again",
    500: "Something went wrong in the server",
    503: "The server is busy (Retry-After says when to try again), or the gallery cannot be used now",
    507: "The server's disk is full, or fails",
}
_ALWAYS = (401, 403, 421, 429, 500, 503, 507)


def document(limits: Limits) -> dict[str, object]:
    """Returns the document, for a server of these limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A gallery of people: its JSON interface",
            "version": version("reid_jax"),
            "description": (
                "Search a gallery of images of people, add to it, erase from it. Distances are Euclidean, between "
                "descriptors of norm 1: 0 is alike, 2 is opposite. Times are seconds since 1970 (UTC). What is wrong "
                'is answered with a fitting status code and {"error": "one line"}. With a token, send it as '
                "Authorization: Bearer TOKEN."
            ),
        },
        "paths": _paths(limits),
        "components": {
            "schemas": _schemas(limits),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                f"refused{code}": {"description": words, "content": _json("Error")} for code, words in _REFUSALS.items()
            },
        },
        "security": [{}, {"token": []}],
    }


def _paths(limits: Limits) -> dict[str, object]:
    photo = f"at most {limits.photo_bytes:,} bytes each"
    return {
        "/api/status": {"get": _call("status", "What the gallery holds, and what may be asked", "Status")},
        "/api/search": {
            "post": _call(
                "search",
                "Find the images that are nearest to photos of one person",
                "Found",
                "Several photos are searched as one: the mean of their descriptors. A photo without a person is "
                "answered like any other; what says that nobody is there is the distance.",
                codes=(400, 408, 413, 415, 422),
                form={
                    "image": _several(_FILE, limits.photos, f"Photos of one person, {photo}", least=1),
                    "box": _several(
                        {"type": "string", "pattern": r"^(\d{1,5},\d{1,5},\d{1,5},\d{1,5})?$"},
                        limits.photos,
                        "Where the person is on each photo: left,top,right,bottom in its pixels; nothing for the whole",
                    ),
                    "top": _said(
                        {"type": "integer", "minimum": 1, "maximum": limits.results}, "How many images, 20 by default"
                    ),
                    "threshold": _said(
                        {"type": "number", "minimum": 0, "maximum": 2},
                        "The distance below which two images count as one person's; by default that of the lowest "
                        "known false-positive rate",
                    ),
                    "by_person": _said(
                        {"type": "string", "enum": ["true", "false"]}, "Each person's nearest image alone"
                    ),
                    **_filter_fields(),
                },
                required=["image"],
            )
        },
        "/api/images": {
            "get": _call(
                "listImages",
                "List the gallery's images, by rising numbers",
                "Listing",
                codes=(422,),
                parameters=[
                    *(_query(name, schema) for name, schema in _filter_fields().items()),
                    _query("after", _said({**_ID, "minimum": 0}, "The number to go on after, 0 by default")),
                    _query(
                        "limit",
                        _said({"type": "integer", "minimum": 1, "maximum": limits.results}, "How many, 60 by default"),
                    ),
                ],
            ),
            "post": _call(
                "addImages",
                "Add image files, each of one person",
                "Added",
                "When it answers they are on the disk. An image that is there already, by its source and its bytes, "
                "is not added twice. What cannot be read is refused by name, and the others are added.",
                codes=(400, 408, 413, 415, 422),
                form={
                    "image": _several(_FILE, limits.images, f"Images, {photo}", least=1),
                    "source": _several(
                        {"type": "string", "maxLength": fields.LONGEST_SOURCE},
                        limits.images,
                        "What each is called, with its folders; by default the name of its file",
                    ),
                    **_label_fields(),
                },
                required=["image"],
            ),
        },
        "/api/images/{id}/crop": {
            "get": {
                **_call(
                    "crop",
                    "The small JPEG that is kept of an image",
                    None,
                    codes=(404, 422),
                    parameters=[_path("id", _ID)],
                ),
            }
        },
        "/api/archives": {
            "post": _call(
                "addArchive",
                "Add the images in a zip, in the background",
                "Archive",
                f"At most {limits.archive_bytes:,} bytes. Ask for it by its id until it is done.",
                codes=(400, 408, 413, 415, 422),
                form={"archive": _said(_FILE, "A zip"), **_label_fields()},
                required=["archive"],
                success=202,
                links=("archive", "stopArchive"),
            )
        },
        "/api/archives/{id}": {
            "get": _call("archive", "How far a zip is", "Archive", codes=(404,), parameters=[_path("id", _TEXT)]),
            "delete": _call(
                "stopArchive",
                "Stop adding a zip; what was confirmed stays",
                "Archive",
                codes=(404,),
                parameters=[_path("id", _TEXT)],
            ),
        },
        "/api/erase": {
            "post": {
                **_call(
                    "erase",
                    "Erase images: descriptors, crops and what is known of them",
                    "Erased",
                    "Those for which every field that is given holds. When it answers, no byte of them is left in the "
                    "gallery's files.",
                    codes=(400, 408, 413, 415, 422),
                ),
                "requestBody": {"required": True, "content": _json("Which")},
            }
        },
    }


def _schemas(limits: Limits) -> dict[str, object]:
    image = {
        "id": _said(_ID, "Its number, which is never given to another"),
        "source": _said({"type": "string"}, "What it was called when it was added"),
        "camera": _said({"type": "string"}, "Empty where unknown"),
        "time": _said({"type": ["number", "null"]}, "Seconds since 1970 (UTC)"),
        "person": _said({"type": "string"}, "Empty where unknown"),
        "tags": {"type": "array", "items": {"type": "string"}, "description": "Words"},
        "crop": _said({"type": ["string", "null"]}, "The address of its small JPEG"),
    }
    refused = {"type": "array", "items": _ref("Refused"), "description": "What could not be added"}
    named = {"name": _said({"type": "string"}, "Empty where unknown"), "images": _said(_COUNT, "How many have it")}
    return {
        "Status": _object(
            {
                "name": _said({"type": "string"}, "What the page calls the gallery"),
                "version": _said({"type": "string"}, "Of reid_jax"),
                "images": _said(_COUNT, "In the gallery"),
                "people": _said(_COUNT, "With a name"),
                "cameras": {"type": "array", "items": _ref("Named"), "description": "All of them"},
                "tags": {"type": "array", "items": _ref("Named"), "description": "The first thousand"},
                "first": _said({"type": ["number", "null"]}, "The earliest time"),
                "last": _said({"type": ["number", "null"]}, "The latest time"),
                "weights": _said({"type": "string"}, "The digest of the weights that describe images"),
                "dimensions": _said(_COUNT, "The length of a descriptor"),
                "image_size": {
                    "type": "array",
                    "items": _COUNT,
                    "description": "Height and width that images are resized to",
                },
                "thresholds": {"type": "array", "items": _ref("Threshold"), "description": "By rising distance"},
                "limits": _said({"type": "object"}, "What a request may hold"),
                "kinds": {"type": "array", "items": {"type": "string"}, "description": "Endings of image files"},
            }
        ),
        "Named": _object(named),
        "Threshold": _object(
            {
                "rate": _said({"type": "number"}, "The share of images of other people that are nearer"),
                "distance": _said(_DISTANCE, "The threshold"),
                "missed": _said(
                    {"type": ["number", "null"]}, "The share of images of the same person that are farther"
                ),
            }
        ),
        "Image": _object(image),
        "Match": _object({**image, "distance": _said(_DISTANCE, "To the photos")}),
        "Found": _object(
            {
                "matches": {"type": "array", "items": _ref("Match"), "description": "Nearest first"},
                "searched": _said(_COUNT, "How many images the filters leave"),
                "nearest": _said({"type": ["number", "null"]}, "The smallest distance"),
                "threshold": _said({"type": ["number", "null"]}, "The distance that `nobody` is by"),
                "nobody": _said({"type": ["boolean", "null"]}, "Whether no image is nearer than the threshold"),
            }
        ),
        "Listing": _object(
            {
                "images": {"type": "array", "items": _ref("Image"), "description": "A page of them"},
                "after": _said({"type": ["integer", "null"]}, "To be given for the next page"),
                "total": _said(_COUNT, "How many the filters leave"),
            }
        ),
        "Refused": _object(
            {"source": _said({"type": "string"}, "The image"), "reason": _said({"type": "string"}, "What is wrong")}
        ),
        "Added": _object(
            {
                "new": {"type": "array", "items": _ID, "description": "The numbers of the images that were added"},
                "known": _said(_COUNT, "How many were there already"),
                "refused": refused,
            }
        ),
        "Archive": _object(
            {
                "id": _said({"type": "string"}, "To ask for it by"),
                "state": _said(
                    {"type": "string", "enum": ["waiting", "adding", "done", "failed", "stopped"]}, "What became of it"
                ),
                "done": _said(_COUNT, "How many images were looked at"),
                "total": _said(_COUNT, "How many it holds"),
                "new": _said(_COUNT, "How many were added"),
                "known": _said(_COUNT, "How many were there already"),
                "refused": refused,
                "error": _said({"type": ["string", "null"]}, "Why it failed"),
            }
        ),
        "Which": {
            "type": "object",
            "properties": {
                "ids": _several(_ID, fields.MOST_IDS, "Numbers of images", least=1),
                "cameras": _several(_NAME, fields.MOST_VALUES, "Any of these, to the letter", least=1),
                "people": _several(
                    {**_NAME, "minLength": 1},
                    fields.MOST_VALUES,
                    "Any of these, to the letter; what has no name goes by its number",
                    least=1,
                ),
                "tags": _several(_NAME, fields.MOST_VALUES, "All of these, to the letter", least=1),
                "since": _said(_TIME, "From this time on"),
                "until": _said(_TIME, "Before this time"),
            },
            "minProperties": 1,
            "additionalProperties": False,
        },
        "Erased": _object({"erased": _said(_COUNT, "How many images")}),
        "Error": {
            "type": "object",
            "properties": {
                "error": _said({"type": "string"}, "What is wrong, in one line"),
                "refused": refused,
            },
            "required": ["error"],
        },
    }


def _filter_fields() -> dict[str, object]:
    return {
        "camera": _several(_NAME, fields.MOST_VALUES, "Any of these cameras"),
        "person": _several(_NAME, fields.MOST_VALUES, "Any of these people"),
        "tag": _several(_NAME, fields.MOST_VALUES, "All of these tags"),
        "since": _said(_TIME, "From this time on"),
        "until": _said(_TIME, "Before this time"),
    }


def _label_fields() -> dict[str, object]:
    return {
        "camera": _said(_TEXT, "Of all of them"),
        "person": _said(_TEXT, "Of all of them"),
        "time": _said(_TIME, "Of all of them"),
        "tag": _several(_TEXT, fields.MOST_VALUES, "Of all of them"),
        "folders": _said({"type": "string", "enum": list(FOLDERS)}, "What the folder of an image is named after"),
    }


def _call(
    name: str,
    summary: str,
    schema: str | None,
    description: str = "",
    *,
    codes: tuple[int, ...] = (),
    parameters: list[dict[str, object]] | None = None,
    form: dict[str, object] | None = None,
    required: list[str] | None = None,
    success: int = 200,
    links: tuple[str, ...] = (),
) -> dict[str, object]:
    """An operation; `schema` None is a JPEG. links: operations that take the id that it answers."""
    content = _json(schema) if schema else {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}
    answers = {str(success): {"description": "It was done" if form else "Here it is", "content": content}}
    if links:
        by_id = {"id": "$response.body#/id"}
        answers[str(success)]["links"] = {name: {"operationId": name, "parameters": by_id} for name in links}
    answers |= {str(code): {"$ref": f"#/components/responses/refused{code}"} for code in sorted({*_ALWAYS, *codes})}
    call = {"operationId": name, "summary": summary, "description": description, "responses": answers}
    if parameters:
        call["parameters"] = parameters
    if form:
        body = {"type": "object", "properties": form, "required": required or [], "additionalProperties": False}
        call["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": body}}}
    return call


def _query(name: str, schema: dict[str, object]) -> dict[str, object]:
    return {"name": name, "in": "query", "schema": schema, "description": schema["description"], "required": False}


def _path(name: str, schema: dict[str, object]) -> dict[str, object]:
    return {"name": name, "in": "path", "schema": schema, "description": "Its number or id", "required": True}


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _several(schema: dict[str, object], most: int, description: str, least: int = 0) -> dict[str, object]:
    return {"type": "array", "items": schema, "minItems": least, "maxItems": most, "description": description}


def _said(schema: dict[str, object], description: str) -> dict[str, object]:
    return {**schema, "description": description}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> dict[str, object]:
    return {"application/json": {"schema": _ref(name)}}
