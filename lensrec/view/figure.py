"""What every picture shares: size, letters, colours that colour-blind readers tell apart, and the way to a file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensrec.sky.map_write import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0
"""Width of a picture in inches: at a README's 850 pixels, letters of 11 points come out 14 pixels high."""

DPI = 150
"""Dots per inch of a saved PNG; WIDTH times this is enough for a screen of twice the usual resolution."""

# Okabe & Ito's palette (https://jfly.uni-koeln.de/color/), with a marker each for those who see no colour at all.
ESTIMATOR_STYLE: dict[str, tuple[str, str]] = {
    "MV": ("#000000", "o"),
    "GMV": ("#000000", "P"),
    "TT": ("#D55E00", "s"),
    "EE": ("#0072B2", "^"),
    "TE": ("#009E73", "D"),
    "TB": ("#CC79A7", "v"),
    "EB": ("#56B4E9", "X"),
}
SETS: tuple[tuple[str, str], ...] = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "D"),
    ("#CC79A7", "^"),
    ("#E69F00", "v"),
    ("#56B4E9", "X"),
)
"""Colours and markers of data sets, in their order, from the same palette."""

_OTHERS = (("#E69F00", "p"), ("#7F7F7F", "h"), ("#882255", "*"), ("#117733", "<"))

GREY = "0.25"
"""Of the curves that points are drawn on, and of the lines where a ratio is 1 or a residual 0."""

MULTIPOLE, LENSING_MULTIPOLE = r"multipole $\ell$", r"lensing multipole $L$"
LENSING_POWER = r"[L(L+1)]^2\,C_L^{\phi\phi}/2\pi"
"""Labels of axes; the last one for use between dollars."""

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 11.0,
    "axes.titlesize": 11.5,
    "axes.labelsize": 11.5,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "errorbar.capsize": 0.0,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def drawing() -> Iterator[None]:
    """lensrec's style, for as long as the block lasts; the user's own settings are back afterwards."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(height: float, width: float = WIDTH) -> "Figure":
    """An empty figure that arranges itself and belongs to no window; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def tick_marks(axes: "Axes") -> None:
    """Ticks inwards on all sides and a faint grid; kept by the axes themselves, so that any later drawing has them."""
    axes.tick_params(which="both", direction="in", top=True, right=True, labelsize=10.0)
    axes.grid(which="major", color="0.9", linewidth=0.6)


def cmb_power_label(key: str, of: str = "") -> str:
    """What an axis of D_ℓ says, for "TT", "TE", …; `of` stands before D, as Δ does."""
    return rf"${of}D_\ell^{{{key}}}\;[\mathrm{{µK}}^2]$"


def legend_above(axes: "Axes", title: str = "", **style: Any) -> None:
    """What is labelled in an axes, above all panels of its figure; `style` is `Figure.legend`'s."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    assert figure is not None
    style = {"ncols": min(len(labels), 4), "columnspacing": 1.6, "title_fontsize": 12} | style
    figure.legend(handles, labels, title=title or None, loc="outside upper center", **style)


def estimator_style(key: str, position: int = 0) -> tuple[str, str]:
    """Colour and marker of an estimator, the same in every picture; other names take theirs by position."""
    return ESTIMATOR_STYLE.get(key, _OTHERS[position % len(_OTHERS)])


def save_figure(figure: "Figure", path: str | os.PathLike[str], *, dpi: int = DPI) -> Path:
    """Write a picture as PNG, whole or not at all.

    Parameters
    ----------
    figure : Figure
    path : str or path
        Ends in .png; its folder is made if need be.
    dpi : int
        Dots per inch.

    Returns
    -------
    Path of the file.

    Raises
    ------
    ValueError
        If the name does not end in .png.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"pictures are saved as PNG; {target.name!r} should end in .png")
    target.parent.mkdir(parents=True, exist_ok=True)
    data = png_bytes(figure, dpi=dpi)
    with replacing(target) as temporary:
        Path(temporary).write_bytes(data)
    return target


def png_bytes(figure: "Figure", *, dpi: int = DPI) -> bytes:
    """A picture as the content of a PNG file."""
    stream = BytesIO()
    with drawing():
        figure.savefig(
            stream, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.1, metadata={"Software": "lensrec"}
        )
    return stream.getvalue()
