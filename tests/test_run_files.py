"""What counts as a whole product: any cut of a file is found, whatever its length."""

from pathlib import Path

import numpy as np
import pytest

from lensrec.run_files import is_whole
from lensrec.rundir import write_json, write_matrices, write_table
from lensrec.sky.io import write_alm, write_map


@pytest.fixture(params=["map.fits", "alm.fits", "matrices.fits", "table.ecsv", "facts.json"])
def product(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path, rng = tmp_path / request.param, np.random.default_rng(3)
    if request.param == "map.fits":
        write_map(path, rng.normal(size=(3, 12 * 16**2)))
    elif request.param == "alm.fits":
        write_alm(path, rng.normal(size=(2, 15)) + 0j, names=["PHI", "OMEGA"])
    elif request.param == "matrices.fits":
        write_matrices(path, {"PHI": rng.normal(size=(30, 20)), "CURL": rng.normal(size=50), "L": np.arange(4)})
    elif request.param == "table.ecsv":
        write_table(path, {"L": np.arange(7), "power": rng.normal(size=7)}, {"power": "uK2"}, "rows: 9} of a note")
    else:
        write_json(path, {"mean": 1.0, "about": {"taken_off": ["N0", "N1"]}})
    return path


def test_a_whole_file_is_whole(product: Path) -> None:
    assert is_whole(product)


def test_any_cut_is_found(product: Path) -> None:
    whole = product.read_bytes()
    lengths = {0, 1, 2879, 2880, 2881, len(whole) - 2880, len(whole) - 1}
    # every line's end, at which a table that is cut looks well; and any place at all
    lengths |= {n + 1 for n, byte in enumerate(whole) if byte == 10}
    lengths |= set(np.random.default_rng(4).integers(0, len(whole), 40).tolist())
    for length in sorted(n for n in lengths if 0 <= n < len(whole)):
        product.write_bytes(whole[:length])
        # JSON alone may lose the white space at its end
        assert not is_whole(product) or whole[length:].strip() == b"", length


def test_what_is_no_product_is_not_whole(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "nothing.fits")
    assert not is_whole(tmp_path)
    (tmp_path / "folder.fits").mkdir()
    assert not is_whole(tmp_path / "folder.fits")
    (tmp_path / "text.fits").write_bytes(b"SIMPLE".ljust(2880 * 2000))
    assert not is_whole(tmp_path / "text.fits")
    (tmp_path / "longer.fits").write_bytes(b"x" * 2880)
    assert not is_whole(tmp_path / "longer.fits")


def test_a_tail_too_many_is_found(tmp_path: Path) -> None:
    path = tmp_path / "map.fits"
    write_map(path, np.zeros(12))
    path.write_bytes(path.read_bytes() + b"\0" * 2880)
    assert not is_whole(path)
