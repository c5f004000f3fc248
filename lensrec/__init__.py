"""lensrec: the lensing potential out of CMB maps, and what it says.

    import lensrec as lr
    recipe = lr.Recipe.load("quickstart")
    sky = lr.simulate(recipe, sim=0)        # .phi_alm, .unlensed_alm, .lensed, .data
    rec = lr.reconstruct(sky.data, recipe)  # .phi["MV"], .kappa_map("MV"), .response["MV"], .n0["MV"]
    bp = lr.bandpowers(rec, sky.data)       # TT, TE, EE and C_L^φφ with windows and joint covariance; .to_sacc, .plot
    lr.split(bp).summary()                  # A_L^TTTEEE, A_L^φφ, their correlation and difference
    lr.fit_cosmology("fit")                 # Σmν, dark energy, both amplitudes, of published data or of band powers

All of these show themselves in Jupyter. So do maps, alm and files, by

    lr.look(sky.data, unit="µK")            # a picture, statistics; an alm, a FITS file
    lr.viewer(sky, rec)                     # drag, turn and zoom its layers, and see the spectrum of the patch

and, after `%load_ext lensrec`, plain arrays that are maps or alm. Nothing heavy is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensrec.recipe import Recipe as Recipe
    from lensrec.recipe_fit import FitRecipe as FitRecipe
    from lensrec.sky.io import read_map as read_map
    from lensrec.stages.bandpowers import bandpowers as bandpowers
    from lensrec.stages.fit_run import fit_cosmology as fit_cosmology
    from lensrec.stages.look import look as look
    from lensrec.stages.look import viewer as viewer
    from lensrec.stages.reconstruct import reconstruct as reconstruct
    from lensrec.stages.simulate import simulate as simulate
    from lensrec.stages.split import split_sky as split

__version__ = "0.1.0"

_WHERE = {
    "FitRecipe": ("lensrec.recipe_fit", "FitRecipe"),
    "Recipe": ("lensrec.recipe", "Recipe"),
    "bandpowers": ("lensrec.stages.bandpowers", "bandpowers"),
    "fit_cosmology": ("lensrec.stages.fit_run", "fit_cosmology"),
    "look": ("lensrec.stages.look", "look"),
    "read_map": ("lensrec.sky.io", "read_map"),
    "reconstruct": ("lensrec.stages.reconstruct", "reconstruct"),
    "simulate": ("lensrec.stages.simulate", "simulate"),
    "split": ("lensrec.stages.split", "split_sky"),
    "viewer": ("lensrec.stages.look", "viewer"),
}
__all__ = [
    "FitRecipe",
    "Recipe",
    "__version__",
    "bandpowers",
    "fit_cosmology",
    "look",
    "read_map",
    "reconstruct",
    "simulate",
    "split",
    "viewer",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'lensrec' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext lensrec`: let plain arrays that are HEALPix maps or alm show themselves, too."""
    import_module("lensrec.stages.look").show_arrays(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext lensrec`: arrays are numbers again."""
    import_module("lensrec.stages.look").hide_arrays(shell)
