"""`reid-jax serve`: a page on which a gallery is searched, added to and erased."""

import argparse
import dataclasses
from pathlib import Path

from reid_jax.errors import InputError, shown
from reid_jax.extractor import Extractor
from reid_jax.gallery import Gallery, open_gallery
from reid_jax.ranges import real, whole
from reid_jax.verbs.gallery.options import add_gallery

EXAMPLES = """\
  reid-jax serve --weights=zoo:street --create
  reid-jax serve --gallery=people --weights=runs/quickstart --host=0.0.0.0 --token_file=token.txt
Then open the address that it prints. It needs pip install -e '.[web]'; see reid_jax/serve/README.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_gallery(parser)
    parser.add_argument(
        "--weights", required=True, help="those that made it: a run's workdir, a .safetensors file or zoo:NAME"
    )
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")
    parser.add_argument("--create", action="store_true", help="make an empty gallery where there is none")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=whole(0, 65535), default=8000, help="the port (8000); 0 takes a free one")
    parser.add_argument(
        "--name", action="append", default=[], help="a name by which others reach it, as behind a proxy; again for more"
    )
    parser.add_argument(
        "--token_file",
        help="a file with the token that others than this machine have to know; without it one is made and printed",
    )
    parser.add_argument(
        "--rate", type=real(0, 1e6), default=50.0, help="requests a second from one address (50); 0 bounds nothing"
    )


def run(args: argparse.Namespace) -> None:
    """Serves until a signal comes."""
    try:
        from reid_jax.serve import server
        from reid_jax.serve.app import create_app
        from reid_jax.serve.limits import Limits
        from reid_jax.serve.service import Service, gallery_name
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "reid_jax":
            raise
        raise InputError(f"serve needs {error.name}, which is not installed: pip install -e '.[web]'") from error
    token = _read_token(args.token_file) if args.token_file else None
    access, made = server.access_for(args.host, args.name, token)
    limits = dataclasses.replace(Limits(), rate=args.rate)
    server.allow_files()
    extractor = Extractor(args.weights, flip=args.flip)
    with (
        open_gallery(args.gallery, extractor, create=args.create) as gallery,
        server.listening(args.host, args.port) as listener,
    ):
        service = Service(gallery, extractor, limits, gallery_name(args.gallery))
        service.start()
        try:
            _tell(gallery, server.address_of(args.host, listener), access.token, made)
            server.server_of(create_app(service, access), behind_proxy=bool(args.name)).run(sockets=[listener])
        finally:
            service.close()


def _tell(gallery: Gallery, address: str, token: str | None, made: bool) -> None:
    summary = gallery.summary()
    print(f"gallery     {summary.entries:,} images of {summary.people:,} people, {len(summary.cameras):,} cameras")
    if not summary.thresholds:
        print("thresholds  none known: see reid-jax gallery add --calibration")
    if made:
        print(f"token       {token} (made for this start, and printed this once)")
    print(f"page        {address}{f'#token={token}' if made else ''}", flush=True)


def _read_token(name: str) -> str:
    try:
        return Path(name).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--token_file names {shown(name)}, which cannot be read: {reason}") from error
