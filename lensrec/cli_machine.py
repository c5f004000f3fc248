"""Commands about this machine: what it has, and whether lensrec keeps its promises on it."""

from typing import Annotated

import typer

from lensrec.terminal import Threads, machine


def info() -> None:
    """Say which versions and how many threads there are, and which recipes come with lensrec."""
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
