"""Split a run: both lensing amplitudes from its band powers."""

from lensrec.engine import Progress
from lensrec.fit.split import Split
from lensrec.rundir import RunDir, read_theory
from lensrec.stages.bandpowers_run import read_bandpowers
from lensrec.stages.split import fit_recipe, fitted_range, recipe_surface, write_split


def split_run(run: RunDir, *, progress: Progress | None = None, nthreads: int = 0) -> Split:
    """Fit A_L^TTTEEE and A_L^φφ to RUN/bandpowers.sacc.fits, which is all that is read of the run's data.

    Leaves split.json, samples.ecsv and pictures.

    Raises
    ------
    ValueError
        If there are no band powers, or the fit has no minimum.
    """
    data = fitted_range(read_bandpowers(run), run.recipe)
    surface = recipe_surface(run.recipe, data, read_theory(run), progress=progress, nthreads=nthreads)
    found = fit_recipe(run.recipe, data, surface)
    write_split(run.path, data, found, surface, {run.recipe.name: data}, title=run.recipe.name)
    return found
