"""Pictures of maps: colour scales, masks, and that nothing of the user's matplotlib is touched."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from lensrec.view.figure import png_bytes, save_figure
from lensrec.view.maps import gnomonic_figure, mollweide_figure, robust_limit

NSIDE = 32
NPIX = 12 * NSIDE**2


def _maps(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(2).standard_normal((count, NPIX)))


def _clims(figure: Figure) -> list[tuple[float, float]]:
    return [axes.images[0].get_clim() for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]


@pytest.mark.parametrize("draw", [mollweide_figure, gnomonic_figure])
def test_scales_of_colour(draw: Callable[..., Figure]) -> None:
    faint, strong = _maps(2)
    maps = [faint, 100.0 * strong]
    alone = _clims(draw(maps, ["a", "b"], unit="T [µK]"))
    assert all(low == -high for low, high in alone)
    # two draws of one distribution: the 99.5 % points of their images agree within a few per cent, not to a factor 2
    assert 50 < alone[1][1] / alone[0][1] < 200
    shared = _clims(draw(maps, ["a", "b"], unit="T [µK]", limits="shared"))
    assert shared[0] == shared[1]
    assert shared[0][1] > 20 * alone[0][1]
    assert _clims(draw(maps, ["a", "b"], unit="T [µK]", limits=(-3.0, 5.0))) == [(-3.0, 5.0)] * 2


def test_one_bright_pixel_does_not_rule_the_scale() -> None:
    values = np.linspace(-1.0, 1.0, 10001)
    values[7] = 1e9
    assert robust_limit([values]) == pytest.approx(0.995, abs=1e-3)
    assert robust_limit([np.full(4, np.nan)]) == 1.0
    assert robust_limit([np.zeros(4)]) == 1.0


@pytest.mark.parametrize("bad", [np.nan, -1.6375e30])
def test_masked_and_unseen_pixels_are_left_out(bad: float) -> None:
    sky = _maps(1)[0]
    sky[: NPIX // 2] = bad  # the north
    mask = np.ones(NPIX)
    mask[NPIX * 3 // 4 :] = 0.2  # below one half
    image = mollweide_figure([sky], ["a"], unit="T [µK]", mask=mask).axes[0].images[0].get_array()
    filled = np.ma.masked_invalid(image)
    rows = filled.shape[0]
    assert filled.mask[rows // 2 + 10 :].all()
    assert filled.mask[: rows // 5].all()
    assert filled[rows // 2 - 20, rows] is not np.ma.masked
    assert np.abs(filled).max() < 10


def test_powers_of_ten_go_into_the_label() -> None:
    sky = _maps(1)[0]
    for scale, label in ((2e-8, "T [$10^{-9}$ K]"), (3.0, "T [K]"), (4e5, "T [$10^{6}$ K]"), (5e-3, "T [$10^{-3}$ K]")):
        limits = (-2.5 * scale, 2.5 * scale)
        figure = mollweide_figure([scale * sky], ["a"], unit="T [K]", limits=limits)
        bar = figure.axes[-1]
        assert bar.get_xlabel() == label
        png_bytes(figure, dpi=20)
        ticks = [float(text.get_text().replace("\u2212", "-")) for text in bar.get_xticklabels()]
        assert 0.1 < max(ticks) < 1e4
    figure = mollweide_figure([1e-8 * sky], ["a"], unit="κ", limits="shared")
    assert figure.axes[-1].get_xlabel() == "κ [$10^{-9}$]"


def test_nothing_global_changes(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    path = save_figure(gnomonic_figure(_maps(3), list("abc"), unit="T [µK]", columns=3), tmp_path / "new" / "a.png")
    assert dict(matplotlib.rcParams) == before
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_an_old_picture_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    figure = mollweide_figure(_maps(1), ["a"], unit="")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ValueError, match="No space left"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_pictures_that_cannot_be(tmp_path: Path) -> None:
    sky = _maps(1)
    with pytest.raises(ValueError, match="1 maps and 2 titles"):
        mollweide_figure(sky, ["a", "b"], unit="")
    with pytest.raises(ValueError, match="needs maps"):
        mollweide_figure([], [], unit="")
    with pytest.raises(ValueError, match="got 2 for 1 maps"):
        mollweide_figure(sky, ["a"], unit=["x", "y"])
    with pytest.raises(ValueError, match="must rise"):
        mollweide_figure(sky, ["a"], unit="", limits=(1.0, 1.0))
    with pytest.raises(ValueError, match="the mask has shape"):
        gnomonic_figure(sky, ["a"], unit="", mask=np.ones(12))
    with pytest.raises(ValueError, match=r"end in \.png"):
        save_figure(mollweide_figure(sky, ["a"], unit=""), tmp_path / "a.pdf")
