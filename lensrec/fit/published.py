"""Published band powers by name."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from lensrec.fit.act_dr6 import act_dr6, act_planck_spt
from lensrec.fit.data_files import data_path
from lensrec.fit.planck_pr4 import planck_pr4
from lensrec.fit.plik_lite import plik_lite
from lensrec.spectra.linear_data import LinearData

Reader = Callable[[Path], LinearData]

VARIANTS: Mapping[str, Mapping[str, Reader]] = MappingProxyType(
    {
        "planck2018_plik_lite": {"low_ell": plik_lite, "high_ell": partial(plik_lite, low_ell=False)},
        "planck_pr4_lensing": {
            "cmb_marginalised": planck_pr4,
            "cmb_explicit": partial(planck_pr4, cmb="explicit"),
            "cmb_fixed": partial(planck_pr4, cmb="fixed"),
        },
        "act_dr6_lensing": {"cmb_marginalised": act_dr6, "cmb_fixed": partial(act_dr6, marginalised=False)},
        "act_planck_spt_lensing": {
            "act_planck_spt": act_planck_spt,
            "act_planck": partial(act_planck_spt, surveys=("act", "planck")),
            "act_spt": partial(act_planck_spt, surveys=("act", "spt")),
        },
    }
)
"""Of each name its variants, the first of which is taken where none is asked for.

Planck's and ACT's lensing band powers see the same lenses in part of the sky: to fit both, take act_planck_spt_lensing,
which holds the covariance between them, not one of each. "cmb_fixed" is for amplitudes at fixed CMB spectra alone.
"""


def published(name: str, *, variant: str | None = None) -> LinearData:
    """Published band powers from the files of this machine.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    variant : str, optional
        One of that name's; left out, the first, which is made to be fitted together with power spectra of the CMB: all
        of plik_lite with low-ℓ TT, and lensing band powers that are marginalised over the CMB.

    Raises
    ------
    ValueError
        If there is no such name or variant, or a file is not the published one.
    FileNotFoundError
        If the files are not on this machine.
    """
    if name not in VARIANTS:
        raise ValueError(f"no published band powers {name!r}; there are {', '.join(VARIANTS)}")
    readers = VARIANTS[name]
    if variant is not None and variant not in readers:
        raise ValueError(f"{name} has no variant {variant!r}; it has {', '.join(readers)}")
    reader = readers[variant or next(iter(readers))]
    return reader(data_path(name))
