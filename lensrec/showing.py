"""Who draws what: results of lower floors show themselves in Jupyter, and know nothing of pictures.

A map is read, and a split fitted, on floors below those that draw. When Jupyter asks for HTML they ask here, by name;
the one who draws is looked up then, and not before.
"""

from importlib import import_module
from typing import Any

DRAWN_BY = {
    "SkyMap": ("lensrec.stages.show", "map_html"),
    "Split": ("lensrec.stages.show", "split_html"),
}


def html(result: Any) -> str:
    """The HTML of a result whose class, or one that it is derived from, is named in `DRAWN_BY`."""
    module, function = next(DRAWN_BY[kind.__name__] for kind in type(result).__mro__ if kind.__name__ in DRAWN_BY)
    return getattr(import_module(module), function)(result)
