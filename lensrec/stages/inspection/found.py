"""What an inspection finds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class TextImage:
    """What `lensrec.view.text_picture.text_picture` takes, and a line on it.

    Attributes
    ----------
    image : array (rows, columns)
        Row 0 at the bottom; NaN where nothing was observed.
    limits : (low, high)
    frame : bool array (rows, columns) or None
        Where there is sky.
    label, unit : str
    """

    image: NDArray
    limits: tuple[float, float]
    frame: NDArray[np.bool_] | None
    label: str
    unit: str


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is in a file.

    Attributes
    ----------
    facts : dict
        Numbers, words, and tables: a dictionary of lists of one length. Plain data.
    picture : TextImage or None
    draw : function or None
        Makes the picture to be saved.
    """

    facts: dict[str, Any]
    picture: TextImage | None = None
    draw: "Callable[[], Figure] | None" = field(default=None, repr=False)


def plain(value: Any) -> Any:
    """The same as JSON has it: lists for arrays and tuples, numbers of Python's own, None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
