"""Each mistake in a recipe is named in one line: key, value, and what would do."""

import pytest

from lensrec.recipe import Recipe, RecipeError


def complaint(data: object) -> list[str]:
    with pytest.raises(RecipeError) as err:
        Recipe.model_validate(data)
    return str(err.value).splitlines()


MISTAKES = [
    ({"sky": {"nsdie": 8}}, "sky.nsdie", "unknown key; did you mean sky.nside?"),
    ({"nside": 8}, "nside", "unknown key; did you mean sky.nside?"),
    ({"cosmology": {"h0": 70}}, "cosmology.h0", "unknown key; did you mean cosmology.H0?"),
    (
        {"quux": 8},
        "quux",
        "unknown key; there are name, description, cosmology, sky, instrument, mask, reconstruction, bandpowers, "
        "split, compute",
    ),
    (
        {"mask": {"quux": 8}},
        "mask.quux",
        "unknown key; there are mask.file, mask.galactic_cut, mask.apodisation, mask.kind",
    ),
    ({"instrument": {"fwhm": "7 parsec"}}, "instrument.fwhm", "'7 parsec' is not an angle; write e.g. '7 arcmin'"),
    ({"mask": {"apodisation": "1 K"}}, "mask.apodisation", "'1 K' is not an angle; write e.g. '7 deg'"),
    (
        {"instrument": {"noise_t": "6 uK"}},
        "instrument.noise_t",
        "'6 uK' is not a noise level; write e.g. '6 uK arcmin'",
    ),
    ({"instrument": {"noise_p": -1}}, "instrument.noise_p", "-1.0 will not do; at least 0"),
    (
        {"instrument": {"pixel_window": "car"}},
        "instrument.pixel_window",
        "'car' will not do; one of 'none' or 'healpix'",
    ),
    (
        {"instrument": {"lknee_t": 1000}},
        "instrument.slope_t",
        "is missing; 1/f noise needs a knee and a slope, e.g. 1000 and -3.5",
    ),
    (
        {"instrument": {"slope_p": -1}},
        "instrument.lknee_p",
        "is missing; 1/f noise needs a knee and a slope, e.g. 1000 and -3.5",
    ),
    (
        {"instrument": {"lknee_t": 9, "slope_t": 2}},
        "instrument.slope_t",
        "2 would not rise to low ℓ; a negative number, e.g. -3.5",
    ),
    ({"sky": {"nside": 500}}, "sky.nside", "500 is not a power of two; 256 or 512"),
    ({"sky": {"nside": 16384}}, "sky.nside", "16384 will not do; at most 8192"),
    ({"sky": {"nside": "many"}}, "sky.nside", "'many' will not do; a whole number"),
    ({"sky": {"seed": 0.5}}, "sky.seed", "0.5 will not do; a whole number"),
    ({"sky": {"a_phi": -0.1}}, "sky.a_phi", "-0.1 will not do; at least 0"),
    ({"sky": {"epsilon": float("nan")}}, "sky.epsilon", "nan will not do; a number"),
    ({"sky": {"epsilon": 9e-13}}, "sky.epsilon", "9e-13 will not do; at least 1e-12"),
    ({"sky": {"epsilon": 2e-3}}, "sky.epsilon", "0.002 will not do; at most 0.001"),
    ({"sky": {"precision": "half"}}, "sky.precision", "'half' will not do; one of 'double' or 'single'"),
    ({"sky": {"lensed": "maybe"}}, "sky.lensed", "'maybe' will not do; true or false"),
    (
        {"sky": {"precision": "single"}},
        "sky.epsilon",
        "1e-07 is out of reach of single precision; 1e-5 or more, or precision double",
    ),
    (
        {"sky": {"nside": 512, "lmax": 32769}},
        "sky.lmax",
        "32769 is beyond what is provided for; at most 32768",
    ),
    (
        {"sky": {"lmax": 2000, "lmax_data": 1536}},
        "sky.lmax_data",
        "1536 is more than pixels of nside 512 can carry; at most 1535, or sky.nside=1024",
    ),
    (
        {"sky": {"lmax": 800, "lmax_data": 900}},
        "sky.lmax_data",
        "900 is above the sky's own band limit; at most sky.lmax = 800",
    ),
    (
        {"reconstruction": {"lmax_t": 1536}},
        "reconstruction.lmax_t",
        "1536 is more than pixels of nside 512 can carry; at most 1305",
    ),
    (
        {"reconstruction": {"lmax_p": 1025}},
        "reconstruction.lmax_p",
        "1025 is above the data's band limit; at most 1024, or sky.lmax_data=1025",
    ),
    (
        {"reconstruction": {"lmin_t": 600, "lmax_t": 500}},
        "reconstruction.lmin_t",
        "600 is above lmax_t = 500; at most 500",
    ),
    (
        {"reconstruction": {"L_max": 2049}},
        "reconstruction.L_max",
        "2049 is beyond the sum of two CMB multipoles; at most 2048",
    ),
    ({"reconstruction": {"L_min": 50, "L_max": 40}}, "reconstruction.L_min", "50 is above L_max = 40; at most 40"),
    (
        {"reconstruction": {"estimators": ["TT", "BB"]}},
        "reconstruction.estimators",
        "unknown estimator 'BB'; there are TT, EE, TE, TB, EB, MV, GMV, TTH",
    ),
    ({"reconstruction": {"estimators": []}}, "reconstruction.estimators", "[] will not do; at least one"),
    ({"reconstruction": {"estimators": "TT,TT"}}, "reconstruction.estimators", "TT, TT names one twice; each once"),
    (
        {"sky": {"polarisation": False}, "reconstruction": {"estimators": "TT,EB"}},
        "reconstruction.estimators",
        "EB need polarisation; TT alone, or sky.polarisation=true",
    ),
    (
        {"reconstruction": {"n_bins": 5, "bin_edges": [2, 9]}},
        "reconstruction.n_bins",
        "5, but bin_edges make 1; give one of the two and set the other to null",
    ),
    (
        {"reconstruction": {"bin_edges": [9, 9, 20]}},
        "reconstruction.n_bins",
        "2 bins leave some without an L between 2 and 1024; fewer, or bin_edges that rise",
    ),
    (
        {"reconstruction": {"bin_edges": [2, 2000]}},
        "reconstruction.bin_edges",
        "2 to 2000 leave the range of L; from 2 to 1025",
    ),
    (
        {"bandpowers": {"lmax": 1025}},
        "bandpowers.lmax",
        "1025 is more than the data's pixels and band limit can carry; at most 1024",
    ),
    (
        {"bandpowers": {"lmin": 1000}},
        "bandpowers.lmin",
        "1000 leaves no band of 30 multipoles below lmax = 1024; lower lmin or width",
    ),
    (
        {"bandpowers": {"estimator": "GMV"}},
        "bandpowers.estimator",
        "GMV is not reconstructed; one of TT, EE, TE, TB, EB, MV",
    ),
    ({"split": {"L_min": 2000}}, "split.L_min", "2000 is above L_max = 1000; at most that"),
    ({"mask": {"galactic_cut": "90 deg"}}, "mask.galactic_cut", "90 deg leaves no sky; below 90 deg"),
    ({"sky": 512}, "sky", "512 stands where keys and values should; e.g. 'nside: 512'"),
    ([], "recipe", "[] stands where keys and values should; e.g. 'nside: 512'"),
    ({"cosmology": {"H0": None}}, "cosmology.H0", "None will not do; a number"),
]


@pytest.mark.parametrize(("data", "key", "rest"), MISTAKES)
def test_a_mistake_is_one_line_with_key_value_and_remedy(data: object, key: str, rest: str) -> None:
    assert complaint(data) == [f"{key}: {rest}"]


def test_single_precision_ends_just_below_one_part_in_a_hundred_thousand() -> None:
    assert len(complaint({"sky": {"precision": "single", "epsilon": 9.99e-6}})) == 1


def test_every_mistake_has_its_line() -> None:
    lines = complaint({"sky": {"nsdie": 1, "a_phi": -1}, "instrument": {"fwhm": "x"}})
    assert [line.split(":")[0] for line in lines] == ["sky.a_phi", "sky.nsdie", "instrument.fwhm"]
    lines = complaint({"sky": {"lmax": 99999}, "reconstruction": {"lmax_t": 1030, "lmax_p": 50, "lmin_p": 60}})
    assert [line.split(":")[0] for line in lines] == [
        "sky.lmax",
        "reconstruction.lmax_t",
        "reconstruction.lmin_p",
    ]


@pytest.mark.parametrize(
    "data",
    [
        {"sky": {"nside": 512, "lmax": 2048, "lmax_data": 1535}},
        {"sky": {"precision": "single", "epsilon": 1e-5}},
        {"reconstruction": {"lmin_t": 500, "lmax_t": 500, "L_max": 2048}},
        {"reconstruction": {"bin_edges": [2, 1025]}},
        {"sky": {"a_phi": 0}},
    ],
)
def test_limits_themselves_are_allowed(data: dict) -> None:
    Recipe.model_validate(data)
