"""Refuse a stage for which there is not the memory, and say what would do."""

from collections.abc import Iterator

from lensrec.arrays import thread_count
from lensrec.machine import VARIABLE, available_memory, memory_limits
from lensrec.recipe import Recipe
from lensrec.recipe_checks import invertible_lmax
from lensrec.recipe_files import RecipeError, override
from lensrec.stages.memory import BEFORE_TASKS, mapping_of, peak_memory, phases

LEAST = 64
"""nside below which nobody is advised to go."""


def require_memory(
    recipe: Recipe, stage: str, available: int | None = None, *, tasks: bool = True, nthreads: int = 0
) -> None:
    """Go on only if this process may take what a stage needs.

    Parameters
    ----------
    recipe : Recipe
    stage : str
        One of `lensrec.stages.memory.STAGES`.
    available : int, optional
        Bytes that there are, those that this process holds among them; what the machine has free if left out, or
        LENSREC_MEMORY.
    tasks : bool
        Whether this process runs the stage's tasks, too, and not others, on machines of their own perhaps.
    nthreads : int

    Raises
    ------
    ValueError
        If they are fewer than `peak_memory`, with what would do: a change of the recipe, or another machine.
    """
    there = memory_here() if available is None else available
    found = phases(recipe, stage, nthreads=nthreads)
    if not tasks:
        found = {name: size for name, size in found.items() if name in BEFORE_TASKS}
    if not found:
        return
    doing = mapping_of(found)
    if found[doing] <= there:
        return
    raise ValueError(
        f"{stage} of {recipe.name} takes {_gb(found[doing])} ({doing}), and {_gb(there)} are there"
        f"{_said_by(available)}; {advice(recipe, stage, there, nthreads=nthreads)}"
    )


def memory_here() -> int:
    """Bytes that this process may hold in all: what is free, and what it holds already; or what LENSREC_MEMORY says."""
    import psutil

    limits = memory_limits()
    if limits[0].by == VARIABLE:
        return limits[0].total
    return available_memory() + int(psutil.Process().memory_info().rss)


def advice(recipe: Recipe, stage: str, there: int, *, nthreads: int = 0) -> str:
    """The mildest of `changes` with which a stage fits, as options of the command line; else how much is needed."""
    threads = thread_count(nthreads)
    if threads > 1 and peak_memory(recipe, stage, nthreads=1) <= there:
        fewer = next(n for n in range(threads - 1, 0, -1) if peak_memory(recipe, stage, nthreads=n) <= there)
        return f"--threads {fewer} takes {_gb(peak_memory(recipe, stage, nthreads=fewer))}"
    for sets in changes(recipe, stage):
        found = _shortest(recipe, sets)
        if found is None:
            continue
        needed = peak_memory(changed(recipe, found), stage, nthreads=nthreads)
        if needed <= there:
            # skies that are there keep theirs
            new = stage != "simulate" and any(one.startswith("sky.") for one in found)
            options = " ".join(f"--set {one}" for one in found)
            return f"{'a new run with ' if new else ''}{options} takes {_gb(needed)}"
    return f"no change of the recipe would do: take a machine with {_gb(peak_memory(recipe, stage, nthreads=1))}"


def _shortest(recipe: Recipe, sets: list[str]) -> list[str] | None:
    """Without keys set to null that the recipe does not need so; None where it cannot be changed like that."""
    try:
        changed(recipe, sets)
    except RecipeError:
        return None
    for one in [one for one in sets if one.endswith("=null")]:
        fewer = [other for other in sets if other != one]
        try:
            changed(recipe, fewer)
        except RecipeError:
            continue
        sets = fewer
    return sets


def changed(recipe: Recipe, sets: list[str]) -> Recipe:
    """The recipe with some keys set as on the command line, and those found anew that it left out."""
    return Recipe.model_validate(override(recipe.model_dump(mode="json", exclude_unset=True), sets))


def changes(recipe: Recipe, stage: str) -> Iterator[list[str]]:
    """Changes that lower a peak, the mildest first: of how it is computed, of what, and of how much.

    Those of a run that has skies begin with `reconstruction.` or `bandpowers.`; of the sky itself only where nothing
    else does, for they need a new run.
    """
    rec, sky = recipe.reconstruction, recipe.sky
    single = [] if rec.precision == "single" else ["reconstruction.precision=single"]
    coarse = [] if sky.precision == "single" else ["sky.precision=single"]
    if coarse and sky.epsilon < 1e-5:
        coarse.append("sky.epsilon=1e-5")
    mild: list[list[str]] = []
    if stage == "simulate":
        mild = [coarse]
    elif stage == "reconstruct":
        fewer = ["reconstruction.rdn0=analytic"] if rec.rdn0 == "simulations" else []
        plain = ["reconstruction.filter=isotropic"] if rec.filter == "optimal" else []
        keys = [str(key) for key in rec.estimators]
        best = "MV" if "MV" in keys else keys[0]
        alone = [f"reconstruction.estimators={best}"] if len(keys) > 1 else []
        tt = ["reconstruction.estimators=TT"] if keys != ["TT"] else []
        mild = [single, fewer, fewer + single, alone, alone + single, plain, plain + fewer + alone + single]
        mild += [tt, tt + single + fewer + plain]
        mild += [_lower(recipe, top) + single for top in _tops(max(rec.lmax_t, rec.lmax_p))]
        mild += [coarse + single]
    elif stage == "bandpowers":
        mild = [single, ["bandpowers.splits=1"] if recipe.bandpowers.splits > 1 else []]
        lower = _null("bandpowers", "lmax_t", "lmax_p")
        mild += [[f"bandpowers.lmax={top}", *lower] for top in _tops(recipe.bandpowers.lmax)]
        mild += [coarse + single]
    yield from (sets for sets in mild if sets)
    nside = sky.nside // 2
    while nside >= LEAST:
        sets = _coarser(recipe, nside)
        yield sets
        yield sets + coarse + single
        nside //= 2


def _tops(lmax: int) -> Iterator[int]:
    """Lower band limits, a hundred at a time."""
    yield from range(-(-lmax // 100) * 100 - 100, max(200, lmax // 4), -100)


def _lower(recipe: Recipe, top: int) -> list[str]:
    """Multipoles that are read, and L, up to another."""
    rec = recipe.reconstruction
    out = [f"reconstruction.{key}={top}" for key in ("lmax_t", "lmax_p", "L_max") if getattr(rec, key) > top]
    return [*out, *_null("reconstruction", "bin_edges", "n_bins"), *_null("bandpowers", "lmax", "lmax_t", "lmax_p")]


def _coarser(recipe: Recipe, nside: int) -> list[str]:
    """Another nside, and multipoles that it can carry."""
    sky, rec = recipe.sky, recipe.reconstruction
    data = min(sky.lmax_data, 2 * nside)
    read = min(data, invertible_lmax(nside))
    out = [f"sky.nside={nside}"]
    tops = {"sky.lmax_data": data, "sky.lmax": max(3 * nside - 1, data + 1500)}
    tops |= {f"reconstruction.{key}": read for key in ("lmax_t", "lmax_p", "L_max")}
    now = recipe.flat()
    lowered = [f"{key}={top}" for key, top in tops.items() if now[key] > top]
    if any(one.startswith("reconstruction.") for one in lowered):
        low = [f"reconstruction.{key}=null" for key in ("lmin_t", "lmin_p") if getattr(rec, key) > read // 2]
        lowered += low + _null("reconstruction", "bin_edges", "n_bins") + _null("bandpowers", "lmin", "lmax", "lmax_t")
        lowered += _null("bandpowers", "lmax_p", "width")
    return out + lowered


def _null(section: str, *keys: str) -> list[str]:
    """Keys that are to be found anew."""
    return [f"{section}.{key}=null" for key in keys]


def _said_by(available: int | None) -> str:
    if available is not None:
        return ""
    limit = min(memory_limits(), key=lambda one: one.free)
    return f" (by {limit.by})"


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
