"""What stages give to their workers can be sent there, whatever a recipe asks for."""

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from lensrec.engine import InProcess
from lensrec.rundir import open_run
from lensrec.stages.reconstruct_run import reconstruct_run
from lensrec.stages.simulate import simulate_run
from tests.reliability.small_run import RECIPE, begun, fingerprints


class Sending(InProcess):
    """Runs each task in this process, on copies that have been through a pickle, as in another process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`."""
        return super().submit(*pickle.loads(pickle.dumps((fn, *args))), **kwargs)


@pytest.mark.parametrize("rdn0", ["analytic", "none"])
def test_a_reconstruction_is_the_same_elsewhere(tmp_path: Path, rdn0: str) -> None:
    made = []
    for name, executor in (("here", None), ("sent", Sending())):
        recipe = tmp_path / f"{name}.yaml"
        text = RECIPE.replace("rdn0: simulations", f"rdn0: {rdn0}, n1: none").replace("n_sims: 3", "n_sims: 2")
        assert text.count(f"rdn0: {rdn0}") == 1
        recipe.write_text(text)
        run = open_run(begun(tmp_path / name, recipe))
        simulate_run(run, executor=executor, nthreads=1)
        reconstruct_run(run, executor=executor, nthreads=1)
        made.append(fingerprints(run.path))
    assert made[0] == made[1]
    assert "recon/0001/bandpowers.ecsv" in made[0]
