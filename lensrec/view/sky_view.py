"""Where one looks at the sky, and what is seen there: the viewer without its widgets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.view.patch import (
    PatchSpectrum,
    equal_area_directions,
    equal_area_side,
    gnomonic_directions,
    patch_spectrum,
    place_of,
    view_matrix,
)
from lensrec.view.projection import mollweide_image
from lensrec.view.pyramid import FAITHFUL, SHARP, Pyramid, reading_window
from lensrec.view.raster import POSITIVE, SIGNED, colour_numbers, indexed_png, palette

WIDTH = 512
"""Pixels along a side of the picture."""

QUICK, FINE = 512, 1024
"""Samples along a side for a spectrum while the view moves, and when it rests."""

WHOLE = 320
"""Pixels across the small picture of the whole sky."""

SIZES = (0.5, 90.0)
"""Degrees along the side of a view, at least and at most."""

RANK = 99.5
"""Percentile of |values| at which colours end."""


@dataclass(frozen=True)
class View:
    """Where one looks: middle, side and turn in degrees; what is up has position angle `turn`, from north to east."""

    lon: float = 0.0
    lat: float = 0.0
    size: float = 10.0
    turn: float = 0.0

    @property
    def half(self) -> float:
        """Half the side, in the tangent plane."""
        return float(np.tan(np.radians(self.size) / 2.0))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3), takes (1, left, up) in half sides to a direction of the sky."""
        return view_matrix(self.lon, self.lat, self.turn) * np.array([1.0, self.half, self.half])

    def direction(self, left: float, up: float) -> NDArray[np.float64]:
        """The vector (3,) to a place of the picture, given in half sides from its middle."""
        return self.matrix @ np.array([1.0, left, up])

    def looking_at(self, direction: NDArray) -> "View":
        """The same with another middle."""
        lon, lat = place_of(direction)
        return replace(self, lon=lon, lat=lat)

    def moved(self, left: float, up: float) -> "View":
        """Look at what is that many half sides to the left and up."""
        return self.looking_at(self.direction(left, up))

    def zoomed(self, factor: float, left: float = 0.0, up: float = 0.0) -> "View":
        """Show `factor` times as much, and keep what is at a place (in half sides) there."""
        there = replace(self, size=float(np.clip(self.size * factor, *SIZES)))
        kept = 1.0 - there.half / self.half
        return replace(there.looking_at(self.direction(kept * left, kept * up)), size=there.size)

    def turned(self, degrees: float) -> "View":
        """Turn the sky clockwise, by changing what is up."""
        return replace(self, turn=(self.turn + degrees + 180.0) % 360.0 - 180.0)

    def outline(self, steps: int = 24) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitudes and latitudes in degrees of points around the picture, closed."""
        side = np.linspace(-1.0, 1.0, steps, endpoint=False)
        left = np.concatenate([side, np.ones(steps), -side, -np.ones(steps), [-1.0]])
        up = np.concatenate([-np.ones(steps), side, np.ones(steps), -side, [-1.0]])
        x, y, z = self.matrix @ np.stack([np.ones_like(left), left, up])
        return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


class Statistics(NamedTuple):
    """Of what is seen in a patch: share of its pixels, mean, rms about it, extremes, in the layer's unit."""

    seen: float
    mean: float
    rms: float
    low: float
    high: float


class Layers:
    """Maps that are looked at through one view.

    Parameters
    ----------
    maps : mapping of name to array (npix,), RING
        Of any nside each. NaN and UNSEEN pixels are not seen.
    units : mapping of name to str, optional
    mask : array (npix,), optional
        Hides pixels below one half in all maps of its nside but masks (whose name is "mask").
    theory : mapping of name to array (lmax+1,), optional
        Raw C_ℓ from ℓ = 0 in the squared unit of a layer, to be drawn beside the spectrum of its patch.

    Raises
    ------
    ValueError
        If there is no map, one is no HEALPix map, or no map has the mask's nside.
    """

    def __init__(
        self,
        maps: Mapping[str, NDArray],
        *,
        units: Mapping[str, str] | None = None,
        mask: NDArray | None = None,
        theory: Mapping[str, NDArray] | None = None,
    ) -> None:
        if not maps:
            raise ValueError("a viewer needs one map at least")
        for kind, given in (("units", units), ("theory", theory)):
            if unknown := sorted(set(given or {}) - set(maps)):
                raise ValueError(f"{kind} of {', '.join(unknown)}, but the layers are {', '.join(maps)}")
        self.pyramids = {}
        hidden = False
        for name, sky in maps.items():
            own = mask if name != "mask" and mask is not None and np.shape(mask) == np.shape(sky) else None
            hidden |= own is not None
            try:
                self.pyramids[name] = Pyramid(sky, own)
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from None
        if mask is not None and not hidden:
            raise ValueError(f"the mask has {np.size(mask)} pixels, and none of the layers {', '.join(maps)} has")
        self.units = dict(units or {})
        self.theory = dict(theory or {})
        self._limits: dict[tuple[str, str], tuple[float, float]] = {}
        self._small: dict[tuple[str, str], bytes] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers, in their order."""
        return tuple(self.pyramids)

    def image(self, view: View, layer: str, minus: str = "", *, width: int = WIDTH) -> NDArray[np.float64]:
        """What is seen, or the difference of two layers: array (width, width), row 0 below, column 0 left.

        NaN where it is hidden. Pixels of the map where they are larger than those of the picture, else means over
        coarser ones.
        """
        return self._values(view.matrix @ _unit_plane(width), layer, minus, 2.0 * view.half / width, SHARP)[0].reshape(
            width, width
        )

    def spectrum(self, view: View, layer: str, minus: str = "", *, width: int = FINE) -> PatchSpectrum:
        """D_ℓ of the patch, by `patch_spectrum`, in an equal-area plane as large as the view.

        `width` samples along a side read pixels that are twice as wide as they are apart, so that wide views read
        coarser ones, and end sooner; see `lensrec.view.pyramid.reading_window`.
        """
        side = equal_area_side(view.size)
        direction = view_matrix(view.lon, view.lat, view.turn) @ _equal_area(view.size, width)
        values, read = self._values(direction, layer, minus, side / width, FAITHFUL)
        image = values.reshape(width, width)
        windows = [reading_window(*nsides) for nsides in read]
        end = min(len(window) for window in windows)
        # where two layers have pixels of two sizes, the smaller correction does no harm
        window = np.max([window[:end] for window in windows], axis=0)
        return patch_spectrum(image, side, seen=np.isfinite(image), window=window)

    def limits(self, layer: str, minus: str = "") -> tuple[float, float]:
        """Where colours end, from 20,000 places all over the sky."""
        key = (layer, minus)
        if key not in self._limits:
            self._limits[key] = robust_limits(self._values(_all_over(20000), layer, minus, 0.0, SHARP)[0])
        return self._limits[key]

    def whole_sky(self, layer: str, minus: str = "") -> bytes:
        """A small picture of the whole sky, PNG."""
        if (layer, minus) in self._small:
            return self._small[layer, minus]
        pyramid = self.pyramids[layer]
        image = mollweide_image(pyramid.sky, WHOLE, seen=pyramid.seen)
        if minus:
            other = self.pyramids[minus]
            image = image - mollweide_image(other.sky, WHOLE, seen=other.seen)
        # averaged over as much as a pixel of it covers, many fields have lost most of their range
        limits = robust_limits(image.ravel())
        numbers = colour_numbers(image, *limits)
        self._small[layer, minus] = indexed_png(numbers, palette(colour_map(limits)), transparent=True)
        return self._small[layer, minus]

    def _values(
        self, direction: NDArray, layer: str, minus: str, step: float, wide: float
    ) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
        """Values (n,) in directions, and for each layer its nside and that which was read."""
        out, windows = None, []
        found: dict[tuple[int, bool], NDArray[np.int64]] = {}
        for name in [layer, *([minus] if minus else [])]:
            if name not in self.pyramids:
                raise ValueError(f"no layer {name!r}; there are {', '.join(self.pyramids)}")
            pyramid = self.pyramids[name]
            nside = pyramid.nside_for(step, wide=wide)
            kind = (nside, nside == pyramid.nside)
            if kind not in found:
                found[kind] = pyramid.pixels(direction, nside)
            values = pyramid.at(found[kind], nside)
            out = values if out is None else out - values
            windows.append((pyramid.nside, nside))
        assert out is not None
        return out, windows


def statistics(image: NDArray) -> Statistics:
    """Of what is not NaN; all zero where nothing is seen."""
    values = image[np.isfinite(image)]
    if not values.size:
        return Statistics(0.0, 0.0, 0.0, 0.0, 0.0)
    share = values.size / image.size
    return Statistics(share, *(float(f(values)) for f in (np.mean, np.std, np.min, np.max)))


def robust_limits(values: NDArray) -> tuple[float, float]:
    """Ends of a colour scale, beyond which one value in two hundred lies.

    Those of a field of both signs are as far to either side of zero, else they are its own lowest and highest.
    """
    found = values[np.isfinite(values)]
    if not found.size:
        return -1.0, 1.0
    if found.min() < 0.0:
        half = float(np.percentile(np.abs(found), RANK)) or 1.0
        return -half, half
    low, high = (float(value) for value in np.percentile(found, [100.0 - RANK, RANK]))
    return (low, high) if low < high else (min(0.0, low), max(1.0, high) if high == 0.0 else high)


def colour_map(limits: tuple[float, float]) -> str:
    """The colours for a scale: those of signed fields if it holds negative values."""
    return SIGNED if limits[0] < 0.0 else POSITIVE


@lru_cache(maxsize=2)
def _unit_plane(width: int) -> NDArray[np.float64]:
    """(1, left, up) of a picture's pixels in half sides, (3, width²): of 90° the half side is 1."""
    return gnomonic_directions(90.0, width)


@lru_cache(maxsize=2)
def _equal_area(size: float, width: int) -> NDArray[np.float64]:
    return equal_area_directions(size, width)


@lru_cache(maxsize=1)
def _all_over(count: int) -> NDArray[np.float64]:
    """Directions evenly spread over the sphere, on a spiral by the golden angle, (3, count)."""
    number = np.arange(count)
    z = 1.0 - (2.0 * number + 1.0) / count
    angle = number * np.pi * (3.0 - np.sqrt(5.0))
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z])
