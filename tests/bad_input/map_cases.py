"""Maps, masks and hits that cannot be used for what their headers say, or for what they hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.bad_input.fits_files import Column, car, healpix, iqu, write
from tests.bad_input.judge import Case

UNSEEN = -1.6375e30
NSIDES = st.sampled_from([1, 2, 4, 8, 16])
RECIPE = "sky: {nside: 16, lmax: 40, lmax_data: 32}\n"

Bytes = tuple[str, Callable[[], bytes]]
"""What is wrong with a file, and its content."""


def as_map(bad: Bytes, name: str = "bad.fits", extra: tuple[str, ...] = ()) -> Case:
    """Bytes given to reconstruct as a map from outside."""
    about, content = bad

    def make(folder: Path) -> list[object]:
        write(folder / name, content())
        words = ["reconstruct", "--map", folder / name, "--fwhm", "30", "--noise", "20", "--out", folder / "x", *extra]
        return words

    return Case(f"map {name}: {about}", make, (name,))


def as_mask(bad: Bytes, how: str) -> Case:
    """The same given as a mask: of a map from outside, or in the recipe of skies to be simulated; or as hits."""
    about, content = bad

    def make(folder: Path) -> list[object]:
        write(folder / "bad.fits", content())
        if how == "map":
            write(folder / "good.fits", healpix(16))
            known = ["--map", folder / "good.fits", "--mask", folder / "bad.fits", "--fwhm", "30", "--noise", "20"]
            return ["reconstruct", *known, "--out", folder / "x"]
        section = {"mask": "mask: {file: bad.fits}\n", "hits": "instrument: {hits: bad.fits}\n"}[how]
        (folder / "sky.yaml").write_text(RECIPE + section)
        return ["simulate", folder / "sky.yaml", "--out", folder / "x"]

    return Case(f"{'mask' if how == 'map' else how + ' of a recipe'}: {about}", make, ("bad.fits",))


# ---------------------------------------------------------------- headers


_WORDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ _/-+*.0123456789", min_size=1, max_size=12)


def headers() -> SearchStrategy[Bytes]:
    """HEALPix files with one card that cannot be."""

    def with_card(key: str) -> Callable[[int, Any], Bytes]:
        return lambda nside, value: (f"nside {nside}, {key} = {value!r}", lambda: healpix(nside, **{key: value}))

    def with_structure(key: str) -> Callable[[int, Any], Bytes]:
        return lambda nside, value: (f"nside {nside}, {key} = {value!r}", lambda: healpix(nside, None, {key: value}))

    order = _WORDS.filter(lambda t: t.strip().upper() not in ("RING", "RINGED", "NEST", "NESTED"))
    no_power = st.one_of(
        st.integers(3, 8191).filter(lambda n: n & (n - 1)),
        st.integers(8193, 10**12),
        st.integers(-(10**6), 0),
        st.sampled_from(["many", "16.5", "1e1", "²", "0x10", "-", "--8", True, 16.5, 1e30]),
    )
    units = st.one_of(
        st.sampled_from(
            ["MJy/sr", "K_RJ", "uK^2", "K^2", "MK", "parsec", "Jy", "1", "counts", "deg", "uK-arcmin", "T", "%"]
        ),
        _WORDS.filter(lambda t: not t.strip().upper().startswith(("K", "MK", "UK", "MU", "MIC", "MIL")) and t.strip()),
    )
    conventions = _WORDS.filter(
        lambda t: t.strip() and t.strip().upper() not in ("COSMO", "HEALPIX", "IAU", "NONE", "UNDEF")
    )
    promised = st.sampled_from(
        ["NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "BITPIX", "NAXIS", "TFORM1", "TFORM2", "XTENSION"]
    )
    return st.one_of(
        st.builds(with_card("ORDERING"), NSIDES, order),
        st.builds(with_card("NSIDE"), NSIDES, no_power),
        st.builds(with_card("NSIDE"), st.just(8), st.sampled_from([1, 2, 4, 16, 32, 4096, 8192])),
        st.builds(with_card("TUNIT1"), NSIDES, units),
        st.builds(with_card("TUNIT2"), NSIDES, units),
        st.builds(with_card("TUNIT3"), NSIDES, st.just(None)),
        st.builds(with_card("POLCCONV"), NSIDES, conventions),
        st.builds(with_card("BAD_DATA"), NSIDES, st.sampled_from(["many", "UNSEEN", "1,0", "[]", True])),
        st.builds(with_card("INDXSCHM"), NSIDES, st.just("EXPLICIT")),
        promised.flatmap(lambda key: st.builds(with_structure(key), NSIDES, _structures(key))),
    )


def _structures(key: str) -> SearchStrategy[object]:
    huge = st.sampled_from([10**12, 10**15, 2**62, 2**63, 10**30])
    return {
        "NAXIS1": st.one_of(huge, st.integers(-5, 23), st.integers(25, 10**6), st.just("many")),
        "NAXIS2": st.one_of(huge, st.integers(-5, 11), st.integers(4000, 10**9), st.just("many"), st.just(1.5)),
        "PCOUNT": st.one_of(huge, st.integers(10**5, 10**9), st.just("many")),
        "GCOUNT": st.one_of(huge, st.integers(20, 10**9)),
        "TFIELDS": st.sampled_from([-1, 0, 999, 10**6, 10**12, "many"]),
        "BITPIX": st.sampled_from([-8, 64, 7, 0, "many", 10**6]),
        "NAXIS": st.sampled_from([-1, 0, 1, 3, 999, 10**9, "many"]),
        "TFORM1": st.sampled_from(["999999999999D", "10E", "Z", "", "0D", "PD(3)", "QD(10)", "-1D", "3X", "24A", "1P"]),
        "TFORM2": st.sampled_from(["999999999999D", "QD(10)", "10E", "Z", "12M"]),
        "XTENSION": st.sampled_from(["IMAGE", "TABLE", "FOREIGN", "", "BINTABL", "DUMP"]),
    }[key]


# ---------------------------------------------------------------- columns and values


def columns() -> SearchStrategy[Bytes]:
    """HEALPix files of which a column is missing, double, of the wrong kind or length, or holds no sky."""

    def kept(nside: int, which: tuple[int, ...], names: tuple[str, ...] | None) -> Bytes:
        def content() -> bytes:
            made = [iqu(nside)[i] for i in which]
            if names is not None:
                made = [column._replace(name=name) for column, name in zip(made, names, strict=True)]
            return healpix(nside, made)

        return f"nside {nside}, columns {which} named {names}", content

    missing = st.builds(
        kept, NSIDES, st.sampled_from([(), (1,), (2,), (0, 1), (0, 2), (1, 2), (2, 1), (1, 1)]), st.none()
    )
    double = st.sampled_from(
        [
            ((0, 0), ("T", "T")),
            ((0, 0), ("TEMPERATURE", "I")),
            ((0, 1, 1), ("T", "Q", "Q")),
            ((0, 1, 2, 2), ("I", "Q", "U", "U")),
            ((0, 1, 2, 1), ("T", "Q_POL", "U_POL", "Q_STOKES")),
            ((0, 1), ("A", "B")),
            ((0, 1, 2, 2), ("A", "B", "C", "D")),
            ((0, 1, 2), ("PIXEL", "Q", "U")),
            ((0, 1, 2), ("PIXEL", "PIXEL", "PIXEL")),
            ((0, 1, 2), ("E", "B", "KAPPA")),
        ]
    )
    doubled = st.builds(
        lambda n, pair: kept(n, *pair), NSIDES, double.filter(lambda pair: pair[1] != ("E", "B", "KAPPA"))
    )

    def kind(nside: int, which: int, form: str) -> Bytes:
        def content() -> bytes:
            made = iqu(nside)
            values = {"8A": [b"word"] * len(made[0].values), "M": made[0].values + 1j}[form]
            made[which] = made[which]._replace(form=form, values=values)
            return healpix(nside, made)

        return f"nside {nside}, column {which} of kind {form}", content

    def length(nside: int, rows: int) -> Bytes:
        return f"nside {nside}, {rows} rows", lambda: healpix(
            nside, [column._replace(values=np.resize(column.values, rows)) for column in iqu(nside)]
        )

    def of(nside: int, which: tuple[int, ...], value: float) -> Bytes:
        def content() -> bytes:
            made = iqu(nside)
            for i in which:
                made[i] = made[i]._replace(values=np.full(len(made[i].values), value))
            return healpix(nside, made)

        return f"nside {nside}, {which} are all {value}", content

    def scaled(nside: int, factor: float, unit: str) -> Bytes:
        def content() -> bytes:
            return healpix(nside, [c._replace(values=factor * c.values, unit=unit) for c in iqu(nside)])

        return f"nside {nside}, times {factor:g} in {unit}", content

    def partly(nside: int, pixels: tuple[float, ...], form: str) -> Bytes:
        def content() -> bytes:
            sky = [column._replace(values=column.values[: len(pixels)]) for column in iqu(nside)]
            return healpix(nside, [Column("PIXEL", form, np.array(pixels), ""), *sky], INDXSCHM="EXPLICIT")

        return f"nside {nside}, pixels {pixels} as {form}", content

    nothing = st.sampled_from([np.nan, np.inf, -np.inf, UNSEEN, 1e30, -1e25])
    top = st.integers(1, 3).map(lambda k: 12 * 4**k)
    return st.one_of(
        missing,
        doubled,
        st.builds(kind, NSIDES, st.sampled_from([0, 1, 2]), st.sampled_from(["8A", "M"])),
        NSIDES.flatmap(
            lambda n: st.builds(length, st.just(n), st.integers(0, 13 * n * n).filter(lambda rows: rows != 12 * n * n))
        ),
        st.builds(of, NSIDES, st.sampled_from([(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)]), nothing),
        st.builds(of, NSIDES, st.just((0, 1, 2)), st.floats(-1e6, 1e6)),
        st.builds(scaled, st.sampled_from([4, 8, 16]), st.floats(1e3, 1e12), st.sampled_from(["uK", "mK", "K"])),
        st.builds(scaled, st.sampled_from([4, 8, 16]), st.floats(1e-12, 1e-3), st.just("uK")),
        top.flatmap(
            lambda npix: (
                st.lists(st.integers(-3, npix + 3), min_size=1, max_size=4)
                .filter(lambda p: len(set(p)) < len(p) or min(p) < 0 or max(p) >= npix)
                .map(lambda p: partly(int((npix / 12) ** 0.5), tuple(p), "K"))
            )
        ),
        st.lists(st.floats(0.1, 30).filter(lambda x: x != int(x)), min_size=1, max_size=3).map(
            lambda p: partly(4, tuple(p), "D")
        ),
        st.sampled_from([np.nan, np.inf, 1e300, -1e300]).map(lambda p: partly(4, (1.0, p), "D")),
    )


# ---------------------------------------------------------------- CAR


def images() -> SearchStrategy[Bytes]:
    """CAR images with one card, or with pixels, that cannot be."""

    def with_card(key: str, value: object) -> Bytes:
        return f"CAR, {key} = {value!r}", lambda: car(**{key: value})

    def of(shape: tuple[int, ...]) -> Bytes:
        return f"CAR of shape {shape}", lambda: car(np.ones(shape))

    def all_of(value: float) -> Bytes:
        return f"CAR all {value}", lambda: car(np.full((19, 36), value))

    numbers: dict[str, list[object]] = {
        "CDELT1": [0.0, -40.0, 1e30, "many", float("nan"), float("inf")],
        "CDELT2": [0.0, 40.0, -1e30, "many", float("nan")],
        "CRVAL2": [30.0, -1e9, 1.0, "many"],
        "CRPIX2": [1e9, -500.0, 40.0, float("nan")],
        "CTYPE1": ["RA---TAN", "RA---XXX", "GLON-TAN", "RA---ZEA"],
        "CTYPE2": ["DEC--TAN", "DEC--XXX", "", "DEC"],
        "BUNIT": ["MJy/sr", "K_RJ", "parsec", "", "uK^2", "K", "mK"],
        "POLCCONV": ["LEFT", "EU", "1"],
        "BAD_DATA": ["many"],
        "NAXIS1": [10**6, 10**9, 10**12, -3, 0],
        "NAXIS2": [10**6, 10**9, 10**12, -3, 0],
        "BITPIX": [7, 0, 64000, "many"],
        "NAXIS": [3, 5, 999, 1],
        "CUNIT1": ["parsec", "K", "rad"],
    }
    cards = [(key, value) for key, options in numbers.items() for value in options]
    return st.one_of(
        st.sampled_from(cards).map(lambda pair: with_card(*pair)),
        st.sampled_from(
            [
                (2, 19, 36),
                (5, 19, 36),
                (2, 3, 19, 36),
                (2, 2, 2, 19, 36),
                (1, 1),
                (19, 1),
                (1, 36),
                (3, 1, 1),
                (400, 36),
                (19, 800),
            ]
        ).map(of),
        st.sampled_from([np.nan, np.inf, -np.inf, UNSEEN, 0.0, 1e30]).map(all_of),
    )


# ---------------------------------------------------------------- masks and hits


def weights(hits: bool = False) -> SearchStrategy[Bytes]:
    """Files that are sound, but whose values are no weights."""

    def of(nside: int, values: Callable[[int], np.ndarray], about: str) -> Bytes:
        def content() -> bytes:
            return healpix(nside, [Column("MASK", "D", values(12 * nside**2), "")])

        return f"nside {nside}, {about}", content

    def all_of(nside: int, value: float) -> Bytes:
        return of(nside, lambda n: np.full(n, value), f"all {value:.6g}")

    def one_of(nside: int, value: float, place: float) -> Bytes:
        def values(n: int) -> np.ndarray:
            out = np.ones(n)
            out[int(place * (n - 1))] = value
            return out

        return of(nside, values, f"one of {value:.6g} at {place:.3f}")

    nothing = st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, UNSEEN, 1e25])
    below = st.floats(-1e6, -1e-3)
    if hits:
        return st.one_of(
            st.builds(all_of, NSIDES, nothing),
            st.builds(one_of, NSIDES, below, st.floats(0, 1)),
            st.builds(all_of, NSIDES, below),
        )
    beyond = st.floats(1.001, 1e6)
    return st.one_of(
        st.builds(all_of, NSIDES, nothing),
        st.builds(all_of, NSIDES, st.one_of(below, beyond)),
        st.builds(one_of, NSIDES, st.one_of(below, beyond), st.floats(0, 1)),
    )


def maps() -> SearchStrategy[Case]:
    """All of a HEALPix map that is no bytes' matter, as plain files and compressed ones."""
    return st.builds(as_map, st.one_of(headers(), columns()), st.sampled_from(["bad.fits", "bad.fits.gz"]))


def car_maps() -> SearchStrategy[Case]:
    """CAR images as maps."""
    return st.builds(as_map, images(), st.sampled_from(["bad.fits", "bad.fits.gz"]))


def masks() -> SearchStrategy[Case]:
    """Masks of maps and recipes."""
    wrong = st.one_of(weights(), headers().filter(lambda bad: "TUNIT" not in bad[0] and "POLCCONV" not in bad[0]))
    return st.builds(as_mask, wrong, st.sampled_from(["map", "mask"]))


def hit_maps() -> SearchStrategy[Case]:
    """Maps of hits in a recipe."""
    return st.builds(as_mask, weights(hits=True), st.just("hits"))
