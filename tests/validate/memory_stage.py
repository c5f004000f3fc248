"""One stage of a run in a process of its own, whose peak of resident memory the system keeps.

    python -m tests.validate.memory_stage STAGE RUN RECIPE.yaml

Its last line is the peak in bytes.
"""

import sys
from pathlib import Path


def main(stage: str, folder: Path, recipe: Path) -> None:
    """Run the stage as its command does, and say the peak."""
    from lensrec.recipe import Recipe
    from lensrec.rundir import create_run

    run = create_run(folder, Recipe.load(recipe))
    if stage == "simulate":
        from lensrec.stages.simulate import simulate_run as go
    elif stage == "reconstruct":
        from lensrec.stages.reconstruct_run import reconstruct_run as go
    elif stage == "bandpowers":
        from lensrec.stages.bandpowers_run import bandpowers_run as go
    elif stage == "split":
        from lensrec.stages.split_run import split_run as go
    else:
        from lensrec.stages.view import view_run as go
    go(run)
    # not by getrusage, which starts from what the parent held
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
