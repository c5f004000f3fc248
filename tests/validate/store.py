"""Results of long computations, each kept in one small file, so that the validation can be resumed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def kept(folder: Path, kind: Callable[[int], dict[str, np.ndarray]], number: int) -> dict[str, np.ndarray]:
    """The result of `kind(number)`, from its file or computed and put there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind.__name__}_{number:04d}.npz"
    if not file.is_file():
        part = file.with_suffix(".part")
        with part.open("wb") as stream:
            np.savez(stream, **kind(number))
        part.replace(file)
        print(f"{folder.name}: {kind.__name__} {number}", flush=True)
    with np.load(file) as data:
        return dict(data)
