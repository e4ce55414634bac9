"""Pictures of results: ranked sheets, attention, an embedding map, curves, and one page that holds them all."""

from reid_jax.visualize.attention import attend
from reid_jax.visualize.attention_sheet import write_attention
from reid_jax.visualize.curves import write_curves, write_height_curve, write_risk_curve
from reid_jax.visualize.embedding_map import map_items
from reid_jax.visualize.embedding_map_figure import write_map
from reid_jax.visualize.page import write_page
from reid_jax.visualize.page_content import PageSource
from reid_jax.visualize.ranked_sheet import draw_sheet, write_ranked_sheet
from reid_jax.visualize.training import training_curves

__all__ = [
    "PageSource",
    "attend",
    "draw_sheet",
    "map_items",
    "training_curves",
    "write_attention",
    "write_curves",
    "write_height_curve",
    "write_map",
    "write_page",
    "write_ranked_sheet",
    "write_risk_curve",
]
