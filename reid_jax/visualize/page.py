"""One HTML page for an evaluation: figures, metrics, ranked results, attention and maps in a single file.

The page loads nothing from anywhere: images and plots are inside, and a content security policy says so to the browser.
What it says is gathered in `page_content`; how it looks stands in the folder `templates`.
"""

import functools
import os
import pathlib

import jinja2

from reid_jax.errors import InputError
from reid_jax.files.writing import replace_file
from reid_jax.visualize.failures import one_line_failures, require
from reid_jax.visualize.page_content import PageSource, distance, gather_content, percent

TEMPLATE = "page.html"


@one_line_failures
def write_page(path: str | os.PathLike, source: PageSource) -> None:
    """Writes the page of an evaluation.

    Args:
      path: of the .html file.
      source: what the page is about; what it lacks is left out of the page.

    Raises:
      InputError: the path does not end in .html, `rows`, `top` or `items` of the source are too small, or Matplotlib or
        scikit-learn is missing.
    """
    path = html_path(path)
    require("matplotlib", "scikit-learn")
    text = _environment().get_template(TEMPLATE).render(content=gather_content(source))
    replace_file(path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


def html_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path; raises InputError where it does not end in .html."""
    path = pathlib.Path(path)
    if path.suffix.lower() != ".html":
        raise InputError(f"a page is written as HTML, but the path is {path}; let it end in .html")
    return path


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reid_jax.visualize", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "distance": distance, "thousands": "{:,}".format}
    return environment
