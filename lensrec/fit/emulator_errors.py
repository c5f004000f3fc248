"""How far an emulator is from CAMB at points that it has not seen, in σ of data.

The truth at a point are CAMB's unlensed spectra lensed by CAMB's C_L^φφ there, without any expansion, multiplied by the
correction for accuracy that the emulator has taken in at the centre of its box.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.emulator import Emulator, interpolated, potential_interpolation
from lensrec.fit.emulator_points import cmb_knots
from lensrec.spectra.linear_data import LinearData
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.spectra import Spectra

BIN = 30
"""Width in ℓ of the bins of `planck_like`."""


def true_spectra(
    values: NDArray, lmax: int, *, shift: NDArray | float = 0.0, a_smooth: float = 1.0, nthreads: int = 0
) -> Spectra:
    """Lensed TT, TE, EE, BB to lmax and PP to lmax + 2500 from what `emulator_points.evaluate` gave for a cosmology.

    `shift`, of ln C_L^φφ at its knots, is added to it.
    """
    n = len(cmb_knots(lmax))
    rows = values[: 3 * n].reshape(3, n)
    top = lmax + 1500
    unlensed = {key: interpolated(row, top, lmax) for key, row in zip(("TT", "TE", "EE"), rows, strict=True)}
    potential = potential_interpolation(lmax) @ np.exp(values[3 * n : -2] + shift)
    lensed = lensed_spectra(unlensed, potential, lmax=lmax, amplitude=a_smooth, nthreads=nthreads)
    return {**lensed, "PP": potential}


def errors_in_sigma(
    emulator: Emulator, x: NDArray, truths: Sequence[Mapping[str, NDArray]], data: LinearData
) -> NDArray[np.float64]:
    """(emulator − truth)/σ of each band power at each point x (n, 9): array (n, bins)."""
    sigma = np.sqrt(np.diag(data.covariance))
    differences = [
        data.expected(emulator.spectra(point)) - data.expected(truth) for point, truth in zip(x, truths, strict=True)
    ]
    return np.array(differences) / sigma


def summary(errors: NDArray) -> NDArray[np.float64]:
    """Of errors (n, bins), the largest |error|, the root mean square, and the number of points: array (3, bins)."""
    rms = np.sqrt(np.mean(errors**2, axis=0))
    return np.array([np.max(np.abs(errors), axis=0), rms, np.full(errors.shape[1], float(len(errors)))])


def planck_like(spectra: Mapping[str, NDArray], lmax: int) -> LinearData:
    """Bins of TT, TE, EE and PP with the errors of an experiment like Planck: where no published data are at hand.

    Cosmic variance on half of the sky, with noise of 33 µK·arcmin in T, 70 in Q and U, 7′ of beam; of C_L^φφ, with a
    reconstruction noise of 5e-8/[L(L+1)]² · 2π, in eight bins from 8 to 400.
    """
    ell = np.arange(lmax + 1)
    beam = np.exp(ell * (ell + 1) * (7 * np.pi / 10800) ** 2 / (8 * np.log(2)))
    noise = {key: (width * np.pi / 10800) ** 2 * beam for key, width in (("TT", 33.0), ("EE", 70.0))}
    noise["TE"] = np.zeros(lmax + 1)
    total = {key: np.asarray(spectra[key])[: lmax + 1] + noise[key] for key in noise}
    blocks, edges, variances = [], [], []
    windows: dict[str, NDArray[np.float64]] = {}
    for key in ("TT", "TE", "EE", "PP"):
        if key == "PP":
            where = np.arange(len(spectra["PP"]), dtype=np.float64)
            seen = np.asarray(spectra["PP"]) + 5e-8 * 2 * np.pi / np.maximum(where * (where + 1), 1) ** 2
            bounds = [8, 41, 85, 130, 175, 220, 265, 310, 355, 401]
            variance = 2 * seen**2 / ((2 * where + 1) * 0.5)
        else:
            first, second = (total["TT"], total["EE"]) if key == "TE" else (total[key], total[key])
            variance = (first * second + total[key] ** 2) / ((2 * ell + 1) * 0.5)
            bounds = [2, *range(BIN, lmax + 1, BIN)]
        for low, high in pairwise(bounds):
            if high <= len(variance):
                blocks.append(key)
                edges.append((low, high - 1))
                variances.append(float(np.mean(variance[low:high]) / (high - low)))
    n = len(blocks)
    for row, (key, (low, high)) in enumerate(zip(blocks, edges, strict=True)):
        width = len(spectra["PP"]) if key == "PP" else lmax + 1
        windows.setdefault(key, np.zeros((n, width)))[row, low : high + 1] = 1 / (high + 1 - low)
    low, high = np.array(edges).T
    return LinearData(
        name="planck_like",
        block=np.array(blocks),
        low=low,
        high=high,
        centre=(low + high) / 2,
        mean=np.zeros(n),
        covariance=np.diag(variances),
        windows=windows,
    )
