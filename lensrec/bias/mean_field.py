"""The mean field and the Gaussian bias of a reconstruction, from simulations of what the data are without lensing.

With masked or unevenly noisy maps a quadratic estimate does not average to zero: ⟨q_LM⟩ over skies and noise, at no
lensing, is the mean field. Its estimate from a finite number of simulations has noise of its own, which two
independent halves keep out of the auto-spectrum.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_to_cl


@dataclass(frozen=True)
class MeanField:
    """Means over two independent halves of the simulations, and the spectrum of a single one about the mean.

    Attributes
    ----------
    halves : array (2, ..., nalm)
        Means of the simulations with even and with odd numbers.
    gaussian_bias : array (..., lmax+1)
        Mean spectrum of the simulated estimates about their mean: the N0 of these maps, as masked as they are.
    count : int
        Number of simulations.
    """

    halves: NDArray
    gaussian_bias: NDArray[np.float64]
    count: int

    @property
    def mean(self) -> NDArray:
        """The mean over all simulations, (..., nalm)."""
        even, odd = (self.count + 1) // 2, self.count // 2
        return (even * self.halves[0] + odd * self.halves[1]) / self.count


def mean_field(estimates: Iterable[NDArray]) -> MeanField:
    """Mean field and Gaussian bias from estimates on simulated maps; they are read once, in turn, and not kept.

    Parameters
    ----------
    estimates : iterable of array (..., nalm)
        Estimates, e.g. φ̂ and Ω̂, of unlensed Gaussian skies with the power, noise and mask of the data; at least four.

    Raises
    ------
    ValueError
        For fewer than four simulations, of which no half has a spread.

    Notes
    -----
    With n simulations of mean m, Σ_i |x_i − m|²/(n − 1) is unbiased for the variance of one.
    """
    sums: list[NDArray | float] = [0.0, 0.0]
    power: NDArray | float = 0.0
    count = 0
    for estimate in estimates:
        sums[count % 2] = sums[count % 2] + estimate
        power = power + _spectra(estimate, estimate)
        count += 1
    if count < 4:
        raise ValueError(f"a mean field needs at least 4 simulations, got {count}")
    mean = np.asarray((sums[0] + sums[1]) / count)
    halves = np.stack([sums[0] / ((count + 1) // 2), sums[1] / (count // 2)])
    return MeanField(halves, (power - count * _spectra(mean, mean)) / (count - 1), count)


def subtracted_spectrum(estimate: NDArray, field: MeanField) -> NDArray[np.float64]:
    """Spectrum of an estimate with the mean field taken off, by one half in each factor; (..., lmax+1), from L = 0.

    The product of two independently noisy means adds no bias of its own.
    """
    return _spectra(estimate - field.halves[0], estimate - field.halves[1])


def _spectra(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Spectra of each row of (..., nalm)."""
    pairs = zip(a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]), strict=True)
    spectra = np.stack([alm_to_cl(x, y) for x, y in pairs])
    return spectra.reshape(*a.shape[:-1], -1)
