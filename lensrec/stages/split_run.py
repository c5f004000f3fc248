"""Split a run: both lensing amplitudes from its band powers."""

from lensrec.engine import Progress, Workers
from lensrec.fit.split import Split
from lensrec.rundir import RunDir, read_theory
from lensrec.stages.bandpowers_run import read_bandpowers
from lensrec.stages.setting import theory_of
from lensrec.stages.split import (
    fit_recipe,
    fitted_range,
    priors_of,
    recipe_surface,
    separate_amplitudes,
    with_beam,
)
from lensrec.stages.split_products import write_split


def split_run(run: RunDir, *, executor: Workers = None, progress: Progress | None = None, nthreads: int = 0) -> Split:
    """Fit A_L^TTTEEE and A_L^φφ to RUN/bandpowers.sacc.fits, which is all that is read of the run's data.

    Leaves split.json, samples.ecsv and pictures.

    Raises
    ------
    ValueError
        If there are no band powers, or the fit has no minimum.
    """
    recipe = run.recipe
    data = fitted_range(read_bandpowers(run), recipe)
    theory = read_theory(run) if run.has(run.theory) else theory_of(recipe)
    data = with_beam(recipe, data, {**theory.lensed, "PP": theory.potential["PP"]})
    surface = recipe_surface(recipe, data, theory, executor=executor, progress=progress, nthreads=nthreads)
    found = fit_recipe(recipe, data, surface)
    parts = separate_amplitudes(data, found, surface, *priors_of(recipe, data, surface))
    write_split(run.path, data, found, surface, {recipe.name: data}, title=recipe.name, also={"parts": parts})
    return found
