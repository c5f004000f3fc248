"""lensrec: the lensing potential out of CMB maps, and what it says.

    import lensrec as lr
    recipe = lr.Recipe.load("quickstart")
    sky = lr.simulate(recipe, sim=0)        # .phi_alm, .unlensed_alm, .lensed, .data
    rec = lr.reconstruct(sky.data, recipe)  # .phi["MV"], .kappa_map("MV"), .response["MV"], .n0["MV"]
    bp = lr.bandpowers(rec, sky.data)       # TT, TE, EE and C_L^φφ with windows and joint covariance; .to_sacc, .plot
    lr.split(bp).summary()                  # A_L^TTTEEE, A_L^φφ, their correlation and difference

Nothing heavy is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensrec.recipe import Recipe as Recipe
    from lensrec.stages.bandpowers import bandpowers as bandpowers
    from lensrec.stages.reconstruct import reconstruct as reconstruct
    from lensrec.stages.simulate import simulate as simulate
    from lensrec.stages.split import split_sky as split

__version__ = "0.1.0"

_WHERE = {
    "Recipe": ("lensrec.recipe", "Recipe"),
    "simulate": ("lensrec.stages.simulate", "simulate"),
    "reconstruct": ("lensrec.stages.reconstruct", "reconstruct"),
    "bandpowers": ("lensrec.stages.bandpowers", "bandpowers"),
    "split": ("lensrec.stages.split", "split_sky"),
}
__all__ = ["Recipe", "__version__", "bandpowers", "reconstruct", "simulate", "split"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'lensrec' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
