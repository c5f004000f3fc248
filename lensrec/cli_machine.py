"""Commands about this machine: what it has, what a recipe takes of it, and whether lensrec keeps its promises on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lensrec.terminal import Set, Threads, machine

if TYPE_CHECKING:
    from lensrec.recipe import Recipe


def info(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe or a pipeline: its memory and disk, by stage.")
    ] = None,
    set_: Set = None,
    threads: Threads = 0,
) -> None:
    """Say which versions and how many threads there are, and which recipes come with lensrec.

    With a recipe or a pipeline, say what each stage will take of this machine: memory at its peak, tasks, and disk;
    what there is, and how many workers fit. LENSREC_MEMORY=8GB stands for what this machine has; a stage that takes
    more is refused.
    """
    if recipe is not None:
        _plan(recipe, list(set_ or []), threads)
        return
    if set_:
        raise typer.BadParameter("--set is for a recipe: lensrec info RECIPE --set sky.nside=1024")
    import platform

    from lensrec.arrays import backend, thread_count
    from lensrec.recipe_files import shipped_recipes
    from lensrec.rundir import package_versions

    for name, version in package_versions().items():
        typer.echo(f"{name:10} {version}")
    typer.echo(f"{'python':10} {platform.python_version()} on {platform.platform()}")
    typer.echo(f"{'threads':10} {thread_count()}")
    typer.echo(f"{'backend':10} {backend().about}")
    typer.echo(f"{'recipes':10} {', '.join(shipped_recipes('sims'))}")
    typer.echo(f"{'pipelines':10} {', '.join(shipped_recipes('pipelines'))}")


def _plan(name: str, overrides: list[str], threads: int) -> None:
    """What the stages of a recipe or a pipeline take."""
    from lensrec.arrays import thread_count
    from lensrec.stages.disk import disk_once, disk_per_sky
    from lensrec.stages.memory import mapping_of, phases, task_memory
    from lensrec.stages.memory_advice import require_memory

    recipe, stages = _recipe_and_stages(name, overrides)
    if recipe is None:
        typer.echo(f"{name} goes through no maps: {stages[0]}")
        return
    count, threads = recipe.sky.n_sims, thread_count(threads)
    typer.echo(f"{recipe.name}: {'one sky' if count == 1 else f'{count} skies'}, {threads} threads\n")
    typer.echo(f"{'stage':12} {'memory':>10}  {'while it does this':28} {'tasks':>6} {'disk':>11}")
    disk = 0
    for stage in stages:
        found = phases(recipe, stage, nthreads=threads)
        doing = mapping_of(found)
        tasks = 1 if stage in ("split", "view") else count
        size = disk_once(recipe, stage) + count * disk_per_sky(recipe, stage)
        disk += size
        typer.echo(f"{stage:12} {_gb(found[doing]):>10}  {doing:28} {tasks:6d} {_gb(size) if size else '':>11}")
    free = _say_machine(disk)
    typer.echo("")
    for stage in stages:
        if stage in ("split", "view"):
            continue
        one = task_memory(recipe, stage, nthreads=1)
        fit = min(int(free // one), count)
        typer.echo(f"{stage:12} {fit} of {count} tasks at a time, by workers of one thread, {_gb(one)} each")
    for stage in stages:
        try:
            require_memory(recipe, stage, nthreads=threads)
        except ValueError as err:
            typer.echo(f"\nrefused: {err}")


def _say_machine(disk: int) -> int:
    """Who limits memory, and to what; what is free of it."""
    from lensrec.machine import memory_limits
    from lensrec.stages.disk import free_disk

    limits = memory_limits()
    typer.echo("")
    for limit in limits:
        typer.echo(f"{'memory':12} {_gb(limit.free):>10}  free of {_gb(limit.total)}, by {limit.by}")
    typer.echo(f"{'disk':12} {_gb(free_disk()):>10}  free here, of which the run takes {_gb(disk)}")
    return min(limit.free for limit in limits)


def _recipe_and_stages(name: str, overrides: list[str]) -> "tuple[Recipe | None, Sequence[str]]":
    """A recipe with all stages, a pipeline's with its own, or none and a line on what it is instead."""
    from lensrec.recipe import PipelineRecipe, Recipe
    from lensrec.recipe_files import find_recipe, read_recipe, shipped_recipes
    from lensrec.stages.memory import STAGES

    kind = "pipelines" if name not in shipped_recipes("sims") and name in shipped_recipes("pipelines") else "sims"
    data = read_recipe(find_recipe(name, "pipelines" if kind == "pipelines" else "sims"))
    if "recipe" in data:
        plan = PipelineRecipe.load(name)
        return plan.sky_recipe(overrides), plan.stages
    for key, what in (("fits", "a pipeline of fits"), ("data", "a fit"), ("experiments", "a forecast")):
        if key in data:
            return None, [f"{what}, whose memory is CAMB's and that of its chains, and is not predicted"]
    return Recipe.load(name, overrides), STAGES


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def selftest(
    backend: Annotated[str, typer.Option(metavar="NAME", help="auto, numpy or cupy: a GPU is tested, too.")] = "auto",
    threads: Threads = 0,
) -> None:
    """Prove on this machine, in some seconds, what lensrec promises: each error beside its bound."""
    from lensrec.arrays import backend as make_backend

    with machine(threads):
        chosen = make_backend(backend)
        from lensrec.stages.selftest import CHECKS, Outcome, device_checks, run_checks

        def line(outcome: Outcome) -> None:
            verdict = "ok" if outcome.passed else "FAILED"
            found = f"{outcome.achieved:8.1e} {outcome.check.promised:8.0e}"
            typer.echo(f"{outcome.check.name:55} {found}  {verdict} {outcome.trouble}".rstrip())

        typer.echo(f"on {chosen.about}\n\n{'':55} achieved promised")
        checks = (*CHECKS, *(device_checks(chosen) if chosen.on_device else ()))
        outcomes = run_checks(checks, report=line)
    failed = [outcome.check.name for outcome in outcomes if not outcome.passed]
    typer.echo(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} in {sum(o.seconds for o in outcomes):.0f} s")
    if failed:
        raise ValueError(f"not as promised on this machine: {'; '.join(failed)}")
