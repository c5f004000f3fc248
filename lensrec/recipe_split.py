"""What a recipe says of band powers and of the split: sections of their own, for runs that only go on to them."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat

from lensrec.recipe_section import DERIVED, Multipole, PositiveMultipole, Section

if TYPE_CHECKING:
    from lensrec.recipe import Recipe


QUADRATURE = 9
"""Quarters of nside to which HEALPix gives the power of masked maps to 0.3 %: at 2.5 nside it is 2 % too high."""


FEWEST = 8
"""Skies from which a run's own scatter is drawn beside the analytic covariance."""


def too_few(skies: int) -> str:
    """A line that says so of a covariance that is to come from skies."""
    return f"bandpowers.covariance: simulations, but the run has {skies} skies; at least {FEWEST}, or analytic"


class Bandpowers(Section):
    """Band powers of T, E (and B), and the covariance of these and of those of φ̂."""

    lmin: Multipole = DERIVED  # of the first band; 30, at most a tenth of lmax
    lmax: Multipole = DERIVED  # that no band passes; as reconstruction reads, at most 9/4 nside
    lmax_t: Multipole = DERIVED  # that no band of TT and TE passes; reconstruction.lmax_t
    lmax_p: Multipole = DERIVED  # that no band of TE, EE and BB passes; reconstruction.lmax_p
    width: PositiveMultipole = DERIVED  # multipoles in a band; 30, less where lmax is low
    spectra: Annotated[tuple[Literal["TT", "TE", "EE", "BB"], ...], Field(min_length=1)] = DERIVED  # all but BB
    pure_b: bool = False  # purify B of what E leaks into it behind a mask; where BB is wanted, it should be
    estimator: str = DERIVED  # whose φ̂ is joined to them; MV, or the first of reconstruction.estimators
    covariance: Literal["analytic", "simulations"] = "analytic"  # simulations: shrunk towards the analytic one
    splits: Annotated[int, Field(ge=1, le=1000)] = 1  # of the data: 1 takes the noise bias off, more cross-spectra

    def completed(self, recipe: "Recipe") -> Self:
        """A copy in which what was left out is filled in.

        Raises
        ------
        ValueError
            If the covariance is to be the skies' own, and they are too few for it.
        """
        if self.covariance == "simulations" and recipe.sky.n_sims < FEWEST:
            raise ValueError(too_few(recipe.sky.n_sims))
        out, rec = self.model_copy(), recipe.reconstruction
        names = [str(name) for name in rec.estimators]
        usual = ("TT", "TE", "EE") if recipe.sky.polarisation else ("TT",)
        reach = min(max(rec.lmax_t, rec.lmax_p), QUADRATURE * recipe.sky.nside // 4)
        out._fill(lmax=reach, spectra=usual, estimator="MV" if "MV" in names else names[0])
        out._fill(lmax_t=min(rec.lmax_t, out.lmax), lmax_p=min(rec.lmax_p, out.lmax))
        out._fill(lmin=max(2, min(30, out.lmax // 10)), width=max(1, min(30, out.lmax // 10)))
        return out

    @property
    def edges(self) -> list[int]:
        """Band i holds edge_i ≤ ℓ < edge_(i+1)."""
        return list(range(self.lmin, self.lmax + 2, self.width))


class Split(Section):
    """What is free beside the two amplitudes, and the priors on it."""

    cosmology: Literal["free", "fixed"] = "free"  # the six of ΛCDM, by the data; or held at the recipe's
    tau: NonNegativeFloat = DERIVED  # centre of its prior; that of the recipe's cosmology
    tau_sigma: PositiveFloat = 0.0073  # of Planck 2018 (1807.06209): the lowest E modes, which are not among the data
    calibration: NonNegativeFloat = 0.0025  # standard deviation of the calibration of T; 0 holds it at 1
    polarisation: NonNegativeFloat = 0.005  # likewise of the polarisation efficiency
    beam: NonNegativeFloat = 0.0  # relative standard deviation of the beam's width; marginalised over in the covariance
    L_min: PositiveMultipole = 40  # of the bands of φ̂ that are fitted
    L_max: PositiveMultipole = 1000  # likewise

    def completed(self, recipe: "Recipe") -> Self:
        """A copy in which what was left out is filled in."""
        out = self.model_copy()
        out._fill(tau=recipe.cosmology.tau)
        return out
