"""An emulator as named arrays in single precision, and back: what is kept of it in one FITS file."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.emulator import Emulator
from lensrec.fit.emulator_points import Box
from lensrec.theory.polynomials import Monomials

SHIPPED = Path(__file__).with_name("emulator.fits")
"""The emulator that comes with the package, made by `stages.train.emulator_of` with its defaults."""

_ARRAYS = (
    "primary",
    "potential",
    "components",
    "derived_coefficients",
    "unlensed",
    "lensed",
    "bands",
    "band_weights",
    "shift",
)
_ERRORS = "ERROR_"


@lru_cache(maxsize=1)
def shipped_emulator() -> Emulator:
    """That of the package: for ℓ up to 2600, in the box of `emulator_points.Box`; its `errors` say how good it is."""
    return read_emulator(SHIPPED)


def to_matrices(emulator: Emulator) -> dict[str, NDArray]:
    """Arrays by name, float32 where that leaves errors below those of the polynomials, for `rundir.write_matrices`."""
    box = emulator.box
    numbers = [*box.low, *box.high, *box.pivot, *box.wa, box.early, emulator.lmax]
    return {
        "BOX": np.array(numbers, dtype=np.float64),
        "POWERS": emulator.monomials.powers.astype(np.int16),
        "POTENTIAL_POWERS": emulator.potential_monomials.powers.astype(np.int16),
        "BAND_KNOTS": emulator.band_knots.astype(np.int16),
        "REFERENCE": np.asarray(emulator.reference, dtype=np.float64),
        **{name.upper(): np.asarray(getattr(emulator, name), dtype=np.float32) for name in _ARRAYS},
        **{_ERRORS + name.upper(): np.asarray(of, dtype=np.float32) for name, of in emulator.errors.items()},
    }


def from_matrices(matrices: Mapping[str, NDArray]) -> Emulator:
    """The emulator of `to_matrices`.

    Raises
    ------
    ValueError
        If something is missing.
    """
    wanted = {"BOX", "POWERS", "POTENTIAL_POWERS", "BAND_KNOTS", "REFERENCE", *(name.upper() for name in _ARRAYS)}
    if missing := sorted(wanted - set(matrices)):
        raise ValueError(f"that is no emulator: {', '.join(missing)} missing")
    numbers = [float(value) for value in matrices["BOX"]]
    box = Box(
        low=tuple(numbers[:7]),
        high=tuple(numbers[7:14]),
        pivot=(numbers[14], numbers[15]),
        wa=(numbers[16], numbers[17]),
        early=numbers[18],
    )
    return Emulator(
        lmax=int(numbers[19]),
        box=box,
        monomials=Monomials(np.asarray(matrices["POWERS"], dtype=np.int64)),
        potential_monomials=Monomials(np.asarray(matrices["POTENTIAL_POWERS"], dtype=np.int64)),
        band_knots=np.asarray(matrices["BAND_KNOTS"], dtype=np.int64),
        reference=np.asarray(matrices["REFERENCE"], dtype=np.float64),
        errors={
            name.removeprefix(_ERRORS).lower(): np.asarray(of, dtype=np.float64)
            for name, of in matrices.items()
            if name.startswith(_ERRORS)
        },
        **{name: np.asarray(matrices[name.upper()], dtype=np.float64) for name in _ARRAYS},
    )


def read_emulator(path: Path) -> Emulator:
    """The emulator in a FITS file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no emulator.
    """
    from astropy.io import fits

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no emulator is there")
    try:
        with fits.open(path) as hdus:
            matrices = {hdu.name: np.array(hdu.data) for hdu in hdus[1:]}
    except OSError as error:
        raise ValueError(f"{path} is no FITS file: {error}") from error
    return from_matrices(matrices)
