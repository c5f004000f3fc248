"""What the benchmarks run on: sizes, theory spectra and skies, the same for both sides of a comparison."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from lensrec.sky.map_write import replacing
from lensrec.sky.primary import draw_primary
from lensrec.theory.boltzmann import camb_spectra
from lensrec.theory.spectra import TheorySpectra

FOLDER = Path(__file__).resolve().parents[2] / "runs" / "bench"
GROUPS = ("unlensed", "lensed", "gradient", "potential")
SEED = 2026
NOISE_T = 5.0  # µK·arcmin, as a ground-based telescope of the next years has
FWHM = 1.4  # arcmin


@dataclass(frozen=True)
class Size:
    """How large the problems are.

    Attributes
    ----------
    maps : tuple of (nside, lmax)
        Of the lensed maps.
    phi : tuple of (nside, lmax)
        HEALPix grid of the usual way to φ̂, and the highest multipole of its legs and of φ̂.
    coupling : (nside, lmax)
        Of a mask whose mode-coupling matrices are computed.
    lmax_noise, lmax_lensed : int
        Of responses and N0, and of lensed spectra.
    """

    name: str
    maps: tuple[tuple[int, int], ...]
    phi: tuple[tuple[int, int], ...]
    coupling: tuple[int, int]
    lmax_noise: int
    lmax_lensed: int


SIZES = {
    "tiny": Size("tiny", ((256, 500),), ((256, 500),), (64, 128), 500, 1000),
    "small": Size("small", ((512, 1536),), ((512, 1000),), (256, 512), 1500, 2000),
    "full": Size("full", ((1024, 3072), (2048, 4024)), ((1024, 2048), (2048, 3000)), (1024, 2048), 3000, 5000),
}


@lru_cache(maxsize=1)
def theory(size: Size) -> TheorySpectra:
    """The fiducial cosmology, computed once and kept."""
    path = FOLDER / f"theory_{size.name}_{size.lmax_lensed}.npz"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        spectra = camb_spectra(size.lmax_lensed, cosmology={})
        flat = {f"{group}_{key}": cl for group in GROUPS for key, cl in getattr(spectra, group).items()}
        with replacing(path) as partial, open(partial, "wb") as file:
            np.savez(file, **flat)
    with np.load(path) as kept:
        groups = {
            group: {name.split("_")[1]: kept[name] for name in kept.files if name.startswith(f"{group}_")}
            for group in GROUPS
        }
    return TheorySpectra(**groups)


def unlensed_sky(size: Size, lmax: int, sim: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unlensed T, E, B (B is zero) and φ."""
    spectra = theory(size)
    return draw_primary(spectra.unlensed, spectra.potential, lmax, seed=SEED, sim=sim)


def totals(size: Size, lmax: int) -> dict[str, np.ndarray]:
    """Lensed spectra with white noise and the beam taken off, µK²."""
    ell = np.arange(lmax + 1.0)
    sigma = np.radians(FWHM / 60) / np.sqrt(8 * np.log(2))
    noise = (NOISE_T * np.pi / 10800) ** 2 * np.exp(ell * (ell + 1) * sigma**2)
    lensed = theory(size).truncated(lmax).lensed
    return {key: lensed[key] + {"TT": 1, "EE": 2, "BB": 2, "TE": 0}[key] * noise for key in lensed}


def filters(size: Size, lmax: int) -> dict[str, np.ndarray]:
    """Diagonal filters 1/(C + N), from ℓ = 100."""
    total = totals(size, lmax)
    return {field: np.where(np.arange(lmax + 1) >= 100, 1 / total[field * 2], 0.0) for field in "TEB"}


def weights(size: Size, lmax: int) -> dict[str, np.ndarray]:
    """Lensed-gradient spectra without C^BB, which the peers leave out as well."""
    return theory(size).truncated(lmax).gradient | {"BB": np.zeros(lmax + 1)}


def data_sky(size: Size, lmax: int) -> dict[str, np.ndarray]:
    """Gaussian T, E, B with signal and noise."""
    potential = {"PP": theory(size).potential["PP"]}
    teb, _ = draw_primary(totals(size, lmax), potential, lmax, seed=SEED, sim=1)
    return dict(zip("TEB", teb, strict=True))
