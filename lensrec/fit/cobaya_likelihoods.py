"""Likelihoods for Cobaya, by name in anybody's YAML, over CAMB or any other theory that Cobaya has.

    likelihood:
      lensrec.fit.cobaya_likelihoods.PlanckPlikLite:
        free: [A_L_TTTEEE]
      lensrec.fit.cobaya_likelihoods.LensingBandPowers:
        data: planck_pr4_lensing
      lensrec.fit.cobaya_likelihoods.DesiDR2BAO:

Each attribute of a class is an option of the YAML with its default. Published files are those of `fit.data_files`:
downloaded by `lensrec data get NAME`, or in the folder that LENSREC_DATA names; DESI's and the compressed CMB's numbers
are in lensrec.

The amplitudes of lensing are 1, unless a likelihood's option `free` names them (flat priors from 0 to 3), or the YAML's
`params` block has them, free or fixed:

A_L_phiphi
    multiplies the theory's C_L^φφ where it is compared with lensing band powers.
A_L_TTTEEE
    multiplies it in the smoothing of TT, TE and EE. The unlensed spectra are then lensed here, by lensrec, as they are
    with the option `lens: true`; the theory's own lensed spectra aren't used.

CAMB's `Alens` scales both at once. These likelihoods therefore refuse it wherever they read C_L^φφ; PlanckPlikLite on
spectra that CAMB lenses takes it. With CAMB set `lens_potential_accuracy` (4, say) in its extra_args: Cobaya's own
choice, 1, is 5 % low in C_L^φφ at L = 2000.
"""

from lensrec.fit.cobaya_band_powers import AMPLITUDES, LensingBandPowers, LensrecBandPowers, PlanckPlikLite
from lensrec.fit.cobaya_priors import AsExpPrior, CompressedCMB, DesiDR2BAO, TauPrior

__all__ = [
    "AMPLITUDES",
    "AsExpPrior",
    "CompressedCMB",
    "DesiDR2BAO",
    "LensingBandPowers",
    "LensrecBandPowers",
    "PlanckPlikLite",
    "TauPrior",
]
