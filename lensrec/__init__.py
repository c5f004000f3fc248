"""lensrec: the lensing potential out of CMB maps, and what it says.

    import lensrec as lr
    recipe = lr.Recipe.load("quickstart")
    sky = lr.simulate(recipe, sim=0)        # .phi_alm, .unlensed_alm, .lensed, .data
    rec = lr.reconstruct(sky.data, recipe)  # .phi["MV"], .kappa_map("MV"), .response["MV"], .n0["MV"]

Nothing heavy is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensrec.recipe import Recipe as Recipe
    from lensrec.stages.reconstruct import reconstruct as reconstruct
    from lensrec.stages.simulate import simulate as simulate

__version__ = "0.1.0"

_WHERE = {
    "Recipe": "lensrec.recipe",
    "simulate": "lensrec.stages.simulate",
    "reconstruct": "lensrec.stages.reconstruct",
}
__all__ = ["Recipe", "__version__", "reconstruct", "simulate"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'lensrec' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
