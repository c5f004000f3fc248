"""What goes wrong at the command line: status 1, one line that names the thing and the mend, and no product left."""

import os
import shutil
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from tests.stages.command import Answer, lensrec

NSIDE = 32
NPIX = 12 * NSIDE**2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good files and of bad ones."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(8)
    ell = np.arange(2 * NSIDE + 1.0)
    cl = np.where(ell >= 2, 6000.0 / (ell * (ell + 1) + 1e-9), 0.0)
    np.random.seed(8)  # noqa: NPY002  (healpy's synfast draws from the global state)
    iqu = np.stack([scale * hp.synfast(cl, NSIDE) for scale in (1.0, 0.1, 0.1)])

    def write(name: str, maps: np.ndarray, unit: str | None = "uK_CMB", **options: object) -> None:
        hp.write_map(folder / name, maps, dtype=np.float32, column_units=unit, **options)

    write("iqu.fits", iqu, coord="G")
    write("t.fits", iqu[0])
    write("unitless.fits", iqu[0], None)
    write("parsec.fits", iqu[0], "parsec")
    write("kelvin.fits", iqu[0], "K_CMB")
    write("two.fits", iqu[:2])
    write("nan.fits", np.full(NPIX, np.nan))
    write("unseen.fits", np.full(NPIX, hp.UNSEEN))
    write("celestial.fits", iqu, coord="C")
    write("disordered.fits", hp.reorder(iqu[0], r2n=True))
    seen = (np.abs(np.arange(NPIX) - NPIX / 2) > NPIX / 8).astype(float)
    write("mask.fits", seen, None, coord="G")
    write("nothing.fits", 0 * seen, None)
    write("percent.fits", 100 * seen, None)
    write("mask_celestial.fits", seen, None, coord="C")
    partly = np.where(seen > 0, hp.UNSEEN, iqu[0])
    write("elsewhere.fits", partly, coord="G")
    (folder / "page.fits").write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 100)
    (folder / "cut.fits").write_bytes((folder / "iqu.fits").read_bytes()[:20_000])
    (folder / "empty.fits").touch()
    (folder / "folder.fits").mkdir()
    (folder / "noise.yaml").write_bytes(rng.bytes(500))
    (folder / "list.yaml").write_text("- sky\n- mask\n")
    (folder / "twice.yaml").write_text("sky: {nside: 64}\nsky: {nside: 32}\n")
    (folder / "tab.yaml").write_text("sky:\n\tnside: 64\n")
    (folder / "lost_mask.yaml").write_text("sky: {nside: 32}\nmask: {file: gone.fits}\n")
    (folder / "bad_mask.yaml").write_text("sky: {nside: 32}\nmask: {file: percent.fits}\n")
    (folder / "cook.yaml").write_text("recipe: quickstart\nstages: [simulate, cook]\n")
    (folder / "begun").mkdir()
    (folder / "begun" / "recipe.yaml").write_text("sky: {nside: 32, seed: 3}\n")
    (folder / "broken").mkdir()
    (folder / "broken" / "recipe.yaml").write_text("sky: {nside: many}\n")
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.png").touch()
    return folder


SIMULATE = ["simulate", "quickstart", "--out", "x"]
MAP = ["reconstruct", "--fwhm", "30", "--noise", "20", "--out", "x", "--map"]
MASKED = [*MAP, "iqu.fits", "--mask"]


def setting(value: str) -> list[str]:
    return [*SIMULATE, "--set", value]


CASES = {
    "a misspelt recipe": (["simulate", "quickstrat", "--out", "x"], "no recipe 'quickstrat': give a YAML file, or one"),
    "a folder as recipe": (["simulate", "photos", "--out", "x"], "no recipe 'photos'"),
    "bytes as recipe": (["simulate", "noise.yaml", "--out", "x"], "noise.yaml: "),
    "a list as recipe": (["simulate", "list.yaml", "--out", "x"], "list.yaml: a recipe is made of keys and values"),
    "a key twice": (["simulate", "twice.yaml", "--out", "x"], "twice.yaml: line 2: "),
    "a tab": (["simulate", "tab.yaml", "--out", "x"], "tab.yaml: line 2: "),
    "a map as recipe": (["simulate", "iqu.fits", "--out", "x"], "iqu.fits: "),
    "a mask that is gone": (["simulate", "lost_mask.yaml", "--out", "x"], "gone.fits: there is no such file"),
    "an unknown key": (setting("sky.nsdie=8"), "sky.nsdie: unknown key; did you mean sky.nside?"),
    "an unknown section": (setting("telescope.fwhm=8"), "telescope: unknown key"),
    "a setting without =": (setting("sky.nside"), "'sky.nside' sets nothing; write key=value"),
    "a beam in parsec": (setting("instrument.fwhm=7parsec"), "instrument.fwhm: '7parsec' is not an angle; write e.g."),
    "noise in furlong": (setting("instrument.noise_t=7 furlong"), "instrument.noise_t: '7 furlong' is not a noise"),
    "noise below zero": (setting("instrument.noise_t=-3"), "instrument.noise_t: -3.0 will not do; at least 0"),
    "a seed below zero": (setting("sky.seed=-1"), "sky.seed: -1 will not do; at least 0"),
    "no skies": (setting("sky.n_sims=0"), "sky.n_sims: 0 will not do; more than 0"),
    "an odd nside": (setting("sky.nside=100"), "sky.nside: 100 is not a power of two; 64 or 128"),
    "an lmax for smaller pixels": (setting("sky.nside=64"), "sky.lmax_data: 1200 is more than pixels of nside 64"),
    "an lmax beyond the data": (setting("reconstruction.lmax_t=1300"), "above the data's band limit; at most 1200"),
    "lmin above lmax": (setting("reconstruction.lmin_t=1201"), "reconstruction.lmin_t: 1201 is above lmax_t = 1200"),
    "a strange estimator": (setting("reconstruction.estimators=TT,QQ"), "unknown estimator 'QQ'; there are TT, EE"),
    "an estimator twice": (setting("reconstruction.estimators=TT,TT"), "names one twice"),
    "two mean-field skies": (setting("reconstruction.mean_field_sims=2"), "mean_field_sims: 2 are too few"),
    "a knee without slope": (setting("instrument.lknee_t=100"), "instrument.slope_t: is missing"),
    "a tiny epsilon in single": ([*setting("sky.precision=single"), "--set", "sky.epsilon=1e-9"], "sky.epsilon: 1e-09"),
    "a cut of all sky": (setting("mask.galactic_cut=95"), "mask.galactic_cut: 95 deg leaves no sky"),
    "an amplitude below zero": (setting("sky.a_phi=-1"), "sky.a_phi: -1 will not do; at least 0"),
    "a run in a file": (["simulate", "quickstart", "--out", "t.fits"], "t.fits is a file; a run wants a folder"),
    "a run below a file": (["simulate", "quickstart", "--out", "t.fits/x"], "t.fits/x"),
    "a run among photos": (["simulate", "quickstart", "--out", "photos"], "photos holds cat.png but no recipe.yaml"),
    "a run of another recipe": (["simulate", "quickstart", "--out", "begun"], "begun was begun with another recipe"),
    "no run": (["reconstruct", "nowhere"], "nowhere is no run: it has no recipe.yaml; make one with lensrec simulate"),
    "photos as run": (["reconstruct", "photos"], "photos is no run"),
    "a map as run": (["reconstruct", "iqu.fits"], "iqu.fits is no run"),
    "a run without skies": (["reconstruct", "begun"], "0000/data.fits is not there; run lensrec simulate first"),
    "a run with a bad recipe": (["reconstruct", "broken"], "sky.nside: 'many' will not do; a whole number"),
    "other skies": (["reconstruct", "begun", "--set", "sky.seed=4"], "sky.seed: 3 -> 4"),
    "no map": ([*MAP, "gone.fits"], "gone.fits: there is no such file"),
    "a folder as map": ([*MAP, "folder.fits"], "folder.fits: is a folder, not a map"),
    "a web page as map": ([*MAP, "page.fits"], "page.fits: not a FITS file"),
    "half a map": ([*MAP, "cut.fits"], "cut.fits: not a sound FITS file"),
    "an empty file": ([*MAP, "empty.fits"], "empty.fits: the file is empty"),
    "a map without unit": ([*MAP, "unitless.fits"], "unitless.fits: no unit is given in the header; say which with"),
    "a map in parsec": ([*MAP, "parsec.fits"], "unit 'parsec' is not a CMB temperature"),
    "a map in the wrong unit": ([*MAP, "kelvin.fits"], "kelvin.fits: the temperature varies by "),
    "I and Q alone": ([*MAP, "two.fits"], "two.fits: "),
    "a map of NaN": ([*MAP, "nan.fits"], "nan.fits: no pixel of the map is observed"),
    "a map of UNSEEN": ([*MAP, "unseen.fits"], "unseen.fits: no pixel of the map is observed"),
    "a map in the wrong order": ([*MAP, "disordered.fits"], "are said to be in RING order"),
    "a strange unit": ([*MAP, "t.fits", "--unit", "parsec"], "unit must be one of K, mK"),
    "a strange order": ([*MAP, "t.fits", "--ordering", "SIDEWAYS"], "ordering must be RING or NESTED, got 'SIDEWAYS'"),
    "a strange convention": ([*MAP, "t.fits", "--polconv", "EU"], "polconv must be COSMO or IAU, got 'EU'"),
    "EB of temperature": ([*MAP, "t.fits", "--estimators", "EB"], "reconstruction.estimators: EB need polarisation"),
    "QQ of a map": ([*MAP, "iqu.fits", "--estimators", "QQ"], "unknown estimator 'QQ'"),
    "a map's noise below zero": ([*MAP, "t.fits", "--noise", "-3"], "instrument.noise_t: -3.0 will not do; at least 0"),
    "a map's beam in parsec": ([*MAP, "t.fits", "--fwhm", "7parsec"], "instrument.fwhm: '7parsec' is not an angle"),
    "too much of a map": (
        [*MAP, "t.fits", "--lmax", "3000"],
        "3000 is more than pixels of nside 32 can carry",
    ),
    "a map's lmin above lmax": ([*MAP, "t.fits", "--lmax", "50", "--lmin", "60"], "lmin_t: 60 is above lmax_t = 50"),
    "a strange pixel window": ([*MAP, "t.fits", "--pixel-window", "square"], "instrument.pixel_window: 'square'"),
    "another nside for a map": ([*MAP, "t.fits", "--set", "sky.nside=64"], "sky.nside: 64 is not that of the map, 32"),
    "Q and U for I": ([*MAP, "t.fits", "--estimators", "EE", "--set", "sky.polarisation=true"], "temperature alone"),
    "no mask": ([*MASKED, "gone.fits"], "gone.fits: "),
    "a mask of nothing": ([*MASKED, "nothing.fits"], "nothing.fits: column 0 of the mask is zero everywhere"),
    "a map's mask in per cent": ([*MASKED, "percent.fits"], "mask values run from 0 to 100, outside [0, 1]"),
    "map and mask swapped": ([*MAP, "mask.fits", "--mask", "iqu.fits"], "mask.fits: no unit is given in the header"),
    "a map as mask": ([*MASKED, "iqu.fits"], "is this column a mask?"),
    "a mask in other coordinates": (
        [*MASKED, "mask_celestial.fits"],
        "mask_celestial.fits: the mask is in coordinates C, the map in G; rotate one of them",
    ),
    "a mask beside the map": ([*MAP, "elsewhere.fits", "--mask", "mask.fits"], "nothing of what the map has observed"),
    "the Galaxy cut at the wrong equator": (
        [*MAP, "celestial.fits", "--set", "mask.galactic_cut=20"],
        "mask.galactic_cut: 20 deg is about the Galaxy's equator, and the map is in coordinates C",
    ),
    "an apodisation that leaves nothing": (
        [*MASKED, "mask.fits", "--apodise", "7parsec"],
        "mask.apodisation: '7parsec' is not an angle",
    ),
    "a map into the run of another": (
        ["reconstruct", "--fwhm", "30", "--noise", "20", "--out", "begun", "--map", "t.fits"],
        "begun was begun with another recipe",
    ),
    "an unknown pipeline": (["run", "nothing", "--out", "x"], "no recipe 'nothing'"),
    "a strange stage": (["run", "cook.yaml", "--out", "x"], "stages: 'cook' will not do; one of"),
    "nothing to inspect": (["inspect", "gone.fits"], "gone.fits: no such file"),
    "a web page to inspect": (["inspect", "page.fits"], "page.fits: not a FITS file"),
}


@pytest.mark.parametrize("case", CASES, ids=[name.replace(" ", "-") for name in CASES])
def test_one_line_names_the_mistake(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    for file in files.iterdir():
        if not file.is_dir():
            (tmp_path / file.name).hardlink_to(file)
        else:
            shutil.copytree(file, tmp_path / file.name)
    monkeypatch.chdir(tmp_path)
    before = products(tmp_path)
    words, expected = CASES[case]
    answer = lensrec(*words)
    assert answer.status == 1, answer
    assert expected in one_line(answer)
    assert products(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reconstruct"], "one of the two"),
        (["reconstruct", "begun", "--map", "t.fits"], "one of the two"),
        (["reconstruct", "--map", "t.fits", "--fwhm", "3"], "--noise, --out"),
        ([*MAP, "t.fits", "--mean-field-sims", "-1"], "--mean-field-sims"),
        ([*MAP, "t.fits", "--lmax", "many"], "--lmax"),
        (["simulate", "quickstart"], "--out"),
    ],
)
def test_wrong_usage_is_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = lensrec(*words)
    assert answer.status == 2
    assert expected in answer.err
    assert "Traceback" not in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_sky_that_was_damaged_is_named(files: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "sims" / "0000").mkdir(parents=True)
    (run / "recipe.yaml").write_text(
        "cosmology: {lens_potential_accuracy: 1}\nsky: {nside: 32, n_sims: 1, polarisation: false}\n"
    )
    shutil.copy(files / "cut.fits", run / "sims" / "0000" / "data.fits")
    answer = lensrec("reconstruct", run)
    assert answer.status == 1
    assert "0000/data.fits is not whole; run lensrec simulate first" in one_line(answer)
    assert not (run / "recon" / "0000").exists()


def test_a_recipe_whose_mask_is_none_is_told_before_the_theory(files: Path, tmp_path: Path) -> None:
    answer = lensrec("simulate", files / "bad_mask.yaml", "--out", tmp_path / "x")
    assert answer.status == 1
    assert "percent.fits: mask values run from 0 to 100, outside [0, 1]" in one_line(answer)
    assert not list((tmp_path / "x").rglob("*.ecsv"))
    assert not list((tmp_path / "x").rglob("*.fits"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_map_that_may_not_be_read_is_named(files: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.fits"
    shutil.copy(files / "t.fits", file)
    file.chmod(0)
    answer = lensrec("reconstruct", "--map", file, "--fwhm", 30, "--noise", 20, "--out", tmp_path / "x")
    assert "t.fits: no permission to read the file" in one_line(answer)


def test_a_run_can_be_begun_where_another_failed(files: Path, tmp_path: Path) -> None:
    words = ["reconstruct", "--fwhm", 30, "--noise", 20, "--out", tmp_path / "x", "--set"]
    words += ["cosmology.lens_potential_accuracy=1", "--set", "reconstruction.n1=none"]
    assert lensrec(*words, "--map", files / "page.fits").status == 1
    assert lensrec(*words, "--map", files / "t.fits", "--mask", files / "nothing.fits").status == 1
    assert lensrec(*words, "--map", files / "t.fits").status == 0
    # another sky under the same name is another map
    shutil.copy(files / "t.fits", tmp_path / "t.fits")
    words = [*words, "--map", tmp_path / "t.fits"]
    words[words.index("--out") + 1] = tmp_path / "y"
    assert lensrec(*words).status == 0
    assert "is there already" in lensrec(*words).out
    other = -hp.read_map(files / "t.fits")
    hp.write_map(tmp_path / "t.fits", other, dtype=np.float32, column_units="uK_CMB", overwrite=True)
    assert "y was begun with another recipe (map_sha256: " in one_line(lensrec(*words))


def products(folder: Path) -> dict[str, int]:
    """Every file in a folder but locks, with when it was last changed."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p): p.stat().st_mtime_ns for p in files}


def one_line(answer: Answer) -> str:
    assert answer.err.startswith("lensrec: "), answer
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1, answer.err
    assert "Traceback" not in answer.out + answer.err
    return answer.err.strip()
