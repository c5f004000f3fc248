"""What a run is: one YAML file, checked as a whole, with every default visible.

`Recipe.load` reads a file, `Recipe.dump` gives it back with nothing left unsaid: a key that was left out, or set to
null, is filled in from the others (lmax from nside, noise_p from noise_t, ...), so that code reads plain numbers.
Angles and noise levels stand here as a paper quotes them (arcmin, degrees, µK·arcmin); numerics take radians.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from enum import StrEnum
from math import sqrt
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lensrec.notation import ARCMIN, write_yaml
from lensrec.recipe_checks import HIGHEST_LMAX, invertible_lmax, problems, too_many_bins
from lensrec.recipe_files import SCANS, RecipeError, beside, find_recipe, override, put, read_recipe
from lensrec.recipe_section import (
    DERIVED,
    Arcmin,
    Degrees,
    Multipole,
    Noise,
    PositiveMultipole,
    Precision,
    Section,
    Title,
)
from lensrec.recipe_split import Bandpowers, Split


class Estimator(StrEnum):
    """The quadratic estimators of Okamoto & Hu (astro-ph/0301031), named by the two maps they pair."""

    TT = "TT", "temperature with itself; strongest below the sensitivity of today's ground-based maps"
    EE = "EE", "E-mode polarisation with itself"
    TE = "TE", "temperature with E modes, each filtered by its own spectrum"
    TB = "TB", "temperature with B modes"
    EB = "EB", "E modes with B modes; strongest where the noise is far below 5 µK·arcmin"
    MV = "MV", "the minimum-variance sum of the five"
    GMV = "GMV", "temperature and polarisation filtered jointly: the least noise that a quadratic estimator can have"
    TTH = "TTH", "TT hardened against the fields that reconstruction.harden lists"

    def __new__(cls, value: str, doc: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.__doc__ = doc
        return member


def _parse_estimators(value: Any) -> Any:
    return [v.strip() for v in value.split(",")] if isinstance(value, str) else value


# Lensing makes B modes from E modes of far smaller scales: with this margin no more than 1 % of C^BB is missing.
LENSING_MARGIN = 1500

MOST_SKIES = 1_000_000
"""Skies are numbered below it, and those that a reconstruction draws for itself above."""


Amplitude = Annotated[float, Field(ge=0, le=100)]
Estimators = Annotated[tuple[Estimator, ...], BeforeValidator(_parse_estimators), Field(min_length=1)]
Slope = Annotated[float, Field(ge=-20)]


class Cosmology(Section):
    """Parameters by CAMB's names; the defaults are Planck 2018 TT,TE,EE+lowE+lensing (1807.06209, Table 2)."""

    # bounds are far beyond any data, and within what CAMB takes
    H0: Annotated[float, Field(ge=20, le=200)] = 67.36  # Hubble constant, km/s/Mpc
    ombh2: Annotated[float, Field(ge=5e-3, le=0.3)] = 0.02237  # Ω_b h², baryons
    omch2: Annotated[float, Field(gt=0, le=2)] = 0.1200  # Ω_c h², cold dark matter
    mnu: Annotated[float, Field(ge=0, le=10)] = 0.06  # Σmν, eV; one massive state and two without mass
    omk: Annotated[float, Field(ge=-0.5, le=0.5)] = 0.0  # Ω_K, curvature
    tau: Annotated[float, Field(ge=0, le=0.5)] = 0.0544  # optical depth of reionisation
    As: Annotated[float, Field(ge=1e-11, le=1e-7)] = 2.100e-9  # amplitude of primordial scalar power at 0.05/Mpc
    ns: Annotated[float, Field(ge=0, le=3)] = 0.9649  # its spectral index
    lens_potential_accuracy: Annotated[float, Field(ge=0, le=20)] = 4.0  # CAMB's, of C^φφ; 1 takes a third of the time

    def parameters(self) -> dict[str, float]:
        """The physical parameters alone, without accuracy settings."""
        return {k: v for k, v in self.model_dump().items() if k != "lens_potential_accuracy"}


class Sky(Section):
    """The simulated sky: its pixels, band limits, random numbers and lensing amplitudes."""

    nside: Annotated[int, Field(ge=1, le=8192)] = 512  # HEALPix resolution of maps; a power of two
    lmax: PositiveMultipole = DERIVED  # band limit of the unlensed sky; 3 nside - 1, at least lmax_data + 1500
    lmax_data: PositiveMultipole = DERIVED  # band limit of the beam-convolved data map; 2 nside, or lmax
    seed: NonNegativeInt = 0  # of the random numbers; with the number of a sky it decides the sky
    phi_seed: NonNegativeInt = DERIVED  # seed of the lensing potential; the same
    n_sims: Annotated[int, Field(gt=0, le=MOST_SKIES)] = 1  # how many skies
    a_phi: Amplitude = 1.0  # scales the C_L^φφ that remaps (four-point)
    a_smooth: Amplitude = DERIVED  # smoothing of the power spectra (two-point); a_phi
    epsilon: Annotated[float, Field(ge=1e-12, le=1e-3)] = 1e-7  # accuracy of the remap, relative to the rms of the map
    precision: Precision = "double"  # of maps and alm, in memory and on disk
    polarisation: bool = True  # false: T alone
    lensed: bool = True  # false: Gaussian skies with the lensed spectra

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._fill(phi_seed=self.seed, a_smooth=self.a_phi)
        self._fill(lmax_data=2 * self.nside if self.lmax is None else min(2 * self.nside, self.lmax))
        self._fill(lmax=max(3 * self.nside - 1, self.lmax_data + LENSING_MARGIN))
        return self


class Instrument(Section):
    """Beam and noise; N_ℓ = w² [1 + (ℓ/ℓ_knee)^slope], with a negative slope, white where ℓ_knee is null.

    Where `hits` says how long each part of the sky was looked at, noise is modulated by hits^−½, and its levels are the
    root mean square over what the mask leaves.
    """

    fwhm: Arcmin = 1.4  # full width at half maximum of the Gaussian beam
    noise_t: Noise = 6.0  # white noise of T
    noise_p: Noise = DERIVED  # sqrt(2) noise_t
    lknee_t: PositiveFloat | None = None  # ℓ_knee of T
    slope_t: Slope | None = None  # slope of T, negative
    lknee_p: PositiveFloat | None = None  # ℓ_knee of Q and U
    slope_p: Slope | None = None  # slope of Q and U, negative
    pixel_window: Literal["none", "healpix"] = "none"  # healpix: maps are averaged over pixels
    hits: Path | None = None  # a map of hits or weights in FITS; or ecliptic, equatorial: more of them near those poles

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._fill(noise_p=sqrt(2.0) * self.noise_t)
        return self

    @property
    def hits_file(self) -> Path | None:
        """The map of hits, if they come from a file."""
        return None if self.hits is None or str(self.hits) in SCANS else self.hits

    @property
    def fwhm_rad(self) -> float:
        """Full width at half maximum of the Gaussian beam, radians."""
        return self.fwhm * ARCMIN

    @property
    def noise_t_rad(self) -> float:
        """White noise of T, µK·rad."""
        return self.noise_t * ARCMIN

    @property
    def noise_p_rad(self) -> float:
        """White noise of Q and of U, µK·rad."""
        return self.noise_p * ARCMIN


class Mask(Section):
    """Which part of the sky is seen: a map of weights, a cut in galactic latitude, or both; else all of it."""

    file: Path | None = None  # map of weights from 0 to 1, in FITS
    galactic_cut: Degrees | None = None  # what is nearer than this to the equator is cut
    apodisation: Degrees = 1.0  # distance over which weights rise from 0 at a hole to 1; 0: none
    kind: Literal["C1", "C2"] = "C2"  # form of the rise, of Grain et al. 2009

    @property
    def full_sky(self) -> bool:
        """Whether nothing is masked."""
        return self.file is None and not self.galactic_cut

    @property
    def apodisation_rad(self) -> float:
        """Apodisation scale in radians."""
        return self.apodisation * 60.0 * ARCMIN


class Reconstruction(Section):
    """Estimators, the CMB multipoles they read, and the lensing multipoles L they return."""

    estimators: Estimators = DERIVED  # all that the maps allow, but for GMV and TTH
    lmin_t: Multipole = DERIVED  # 100, at most half of lmax_t
    lmax_t: Multipole = DERIVED  # lmax_data, at most 3000
    lmin_p: Multipole = DERIVED  # 100, at most half of lmax_p
    lmax_p: Multipole = DERIVED  # lmax_data, at most 3000
    L_min: PositiveMultipole = 2  # lowest multipole of band powers
    L_max: Annotated[int, Field(ge=1, le=2 * HIGHEST_LMAX)] = DERIVED  # the larger of lmax_t and lmax_p
    n_bins: PositiveInt = DERIVED  # 20, fewer where L_max is low; or as many as bin_edges make
    bin_edges: tuple[NonNegativeInt, ...] = DERIVED  # bin i is edge_i <= L < edge_(i+1); even steps in sqrt(L)
    gradient_weights: Literal["gradient", "lensed", "unlensed"] = "gradient"  # C_ℓ of the weights
    filter: Literal["isotropic", "optimal"] = "isotropic"  # optimal: Wiener filter of mask and uneven noise
    harden: tuple[Literal["mask", "noise", "sources"], ...] = ("sources",)  # what TTH is hardened against
    mean_field_sims: Annotated[int, Field(ge=0, le=MOST_SKIES)] = 0  # Gaussian skies, for the mean field and N0
    rdn0: Literal["none", "analytic", "simulations"] = "analytic"  # N0 of the data's own power; with the Gaussian skies
    n1: Literal["none", "fiducial", "fitted"] = "fiducial"  # of the fiducial C^φφ, or of that fitted to the band powers
    mc_response: Literal["none", "report", "apply"] = "none"  # response from lensed skies, reported or also divided out
    response_sims: Annotated[int, Field(ge=1, le=MOST_SKIES)] = 8  # pairs of skies for it, lensed by φ and by −φ
    precision: Precision = "double"  # of legs and products

    def completed(self, sky: Sky) -> Self:
        """A copy in which what was left out is filled in for this sky.

        Raises
        ------
        ValueError
            If there are to be more bins than multipoles.
        """
        out = self.model_copy()
        top = min(sky.lmax_data, invertible_lmax(sky.nside), 3000)
        usual = tuple(Estimator)[:6] if sky.polarisation else (Estimator.TT,)
        out._fill(estimators=usual, lmax_t=top, lmax_p=top)
        out._fill(lmin_t=max(2, min(100, out.lmax_t // 2)), lmin_p=max(2, min(100, out.lmax_p // 2)))
        out._fill(L_max=max(out.lmax_t, out.lmax_p))
        by_range = max(1, min(20, (out.L_max + 1 - out.L_min) // 3))
        out._fill(n_bins=by_range if out.bin_edges is None else max(1, len(out.bin_edges) - 1))
        if out.bin_edges is None and out.n_bins > out.L_max:
            raise ValueError(too_many_bins(out))
        out._fill(bin_edges=_even_edges(out.L_min, out.L_max, out.n_bins))
        return out


class Compute(Section):
    """Where the work is done; results agree to sky.epsilon, whichever it is."""

    backend: Literal["auto", "numpy", "cupy"] = "auto"  # auto: a CUDA device if there is one that has the memory


def _even_edges(low: int, high: int, n_bins: int) -> tuple[int, ...]:
    a, b = sqrt(low), sqrt(high + 1)
    return tuple(round((a + (b - a) * i / n_bins) ** 2) for i in range(n_bins + 1))


class Recipe(Section):
    """One run: cosmology, sky, instrument, mask and reconstruction, checked against each other.

    Read-only. `load` reads a file, `model_validate` a dictionary; both raise RecipeError.
    """

    name: Title = "unnamed"  # title of pictures and reports
    description: str = ""  # what it is for
    cosmology: Cosmology = Cosmology()
    sky: Sky = Sky()
    instrument: Instrument = Instrument()
    mask: Mask = Mask()
    reconstruction: Reconstruction = Field(default_factory=Reconstruction)
    bandpowers: Bandpowers = Field(default_factory=Bandpowers)
    split: Split = Field(default_factory=Split)
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        self.__dict__["reconstruction"] = self.reconstruction.completed(self.sky)
        self.__dict__["bandpowers"] = self.bandpowers.completed(self)
        self.__dict__["split"] = self.split.completed(self)
        lines = list(problems(self))
        if lines:
            raise ValueError("\n".join(lines))
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """A recipe from a YAML file, or one that comes with lensrec by its bare name ("quickstart").

        Parameters
        ----------
        path : str or Path
        overrides : of str
            "section.key=value" each, the value in YAML. A mask's path is relative to the recipe's folder where
            the file names it, to the current folder where an override does.

        Raises
        ------
        RecipeError
            If there is no such file, it is no YAML, or a key or value is wrong.
        """
        file = find_recipe(path)
        return cls.model_validate(override(read_recipe(file), overrides))

    @classmethod
    def for_map(cls, nside: int, settings: Mapping[str, Any], *, polarised: bool = True) -> Self:
        """A recipe for a map from outside: its nside put in, and a sky that reaches as far as is reconstructed.

        Parameters
        ----------
        nside : int
        settings : mapping
            The plain data of a recipe, without what the map itself says.
        polarised : bool
            Whether there are Q and U; without them TT alone is left.

        Raises
        ------
        RecipeError
            If a key or value is wrong, or too much for the map.
        """
        data = deepcopy(dict(settings))
        rec, sky = data.get("reconstruction") or {}, dict(data.get("sky") or {})
        tops = [rec[key] for key in ("lmax_t", "lmax_p") if isinstance(rec.get(key), int)]
        reach = min(invertible_lmax(nside), max(tops, default=min(2 * nside, 3000)))
        # The map has power beyond what is read, which a mask carries across that edge.
        defaults = {"nside": nside, "lmax_data": min(3 * nside - 1, reach + 300), "polarisation": polarised}
        read = {"lmax_t": reach, "lmax_p": reach, **{k: v for k, v in rec.items() if v is not None}}
        return cls.model_validate({**data, "sky": {**defaults, **sky}, "reconstruction": read})

    def dump(self) -> str:
        """The whole recipe as YAML, every default written out; `load` gives an equal recipe back."""
        return write_yaml(self.model_dump(mode="json"))

    def flat(self) -> dict[str, Any]:
        """Every value by its dotted key, as plain data."""
        return dict(_flatten(self.model_dump(mode="json")))

    def sha256(self) -> str:
        """A fingerprint of all values."""
        return hashlib.sha256(json.dumps(self.flat(), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "Recipe") -> list[str]:
        """A line for each key with another value in `other`: "sky.nside: 512 -> 1024"; where it is computed aside."""
        mine, theirs = self.flat(), other.flat()
        return [
            f"{k}: {v!r} -> {theirs.get(k)!r}"
            for k, v in mine.items()
            if v != theirs.get(k) and not k.startswith("compute.")
        ]


class PipelineRecipe(Section):
    """A whole run: which recipe, with what changed, and the stages to go through, in order."""

    name: Title = "unnamed"  # title of pictures and reports
    description: str = ""  # what it is for
    recipe: str  # a file, or one that comes with lensrec by its name
    stages: tuple[Literal["simulate", "reconstruct", "bandpowers", "split", "view"], ...] = (
        "simulate",
        "reconstruct",
        "view",
    )  # what is done, in this order
    changes: dict[str, Any] = Field(default={}, alias="set")  # keys of that recipe that are changed

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A pipeline from a YAML file, or one that comes with lensrec by its bare name; raises RecipeError.

        The recipe in it is a path relative to the pipeline's folder, or a bare name, too.
        """
        file = find_recipe(path, "pipelines")
        data = read_recipe(file)
        if "recipe" not in data and {"sky", "instrument", "reconstruction"} & set(data):
            raise RecipeError(
                f"{file} is a recipe, not a pipeline: simulate takes it, or a pipeline with 'recipe: FILE'"
            )
        for key, kind in (("data", "fit"), ("experiments", "forecast")):
            if "recipe" not in data and key in data:
                raise RecipeError(f"{file} is a {kind}, not a pipeline: lensrec {kind} takes it")
        pipeline = cls.model_validate(data)
        named = beside(file, pipeline.recipe, "recipe")
        return pipeline.model_copy(update={"recipe": str(named)}) if named.is_file() else pipeline

    def sky_recipe(self, overrides: Iterable[str] = ()) -> Recipe:
        """The recipe this pipeline runs, with its `set` and then the overrides put in; raises RecipeError."""
        data = read_recipe(find_recipe(self.recipe))
        for key, value in self.changes.items():
            put(data, key, value)
        return Recipe.model_validate(override(data, overrides))


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
