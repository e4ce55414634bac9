"""A gallery: descriptors of people and what is known of each, searched exactly, added to and erased."""

from reid_jax.gallery.entries import EVERYTHING, Added, Entry, Facts, Filter, Match, Page, Summary
from reid_jax.gallery.gallery import Gallery
from reid_jax.gallery.opening import open_gallery

__all__ = ["EVERYTHING", "Added", "Entry", "Facts", "Filter", "Gallery", "Match", "Page", "Summary", "open_gallery"]
