"""Maps, masks and hits that cannot be used are refused with one line that names the file."""

from pathlib import Path

from tests.bad_input import map_bytes, map_cases
from tests.bad_input.fits_files import BLOCK, healpix
from tests.bad_input.judge import Case, changes, check_words, contents, every, nothing_computed, refused
from tests.stages.command import lensrec


@every(map_cases.maps(), least=80)
def test_maps(case: Case) -> None:
    refused(case)


@every(map_cases.car_maps(), least=35)
def test_car_maps(case: Case) -> None:
    refused(case)


@every(map_bytes.damaged(), least=45)
def test_files_that_are_cut_or_something_else(case: Case) -> None:
    refused(case)


@every(map_cases.masks(), least=30)
def test_masks(case: Case) -> None:
    refused(case)


@every(map_cases.hit_maps(), least=15)
def test_hits(case: Case) -> None:
    refused(case)


def _with_bytes(of: tuple[int, tuple[tuple[int, int], ...]]) -> Case:
    nside, places = of

    def make(folder: Path) -> list[object]:
        whole = bytearray(healpix(nside))
        for at, byte in places:
            whole[at] = byte
        (folder / "bad.fits").write_bytes(whole)
        return ["inspect", folder / "bad.fits"]

    return Case(f"nside {nside} with {places}", make, ("bad.fits",))


@every(map_bytes.flipped().map(_with_bytes), least=30)
def test_headers_with_other_bytes_are_looked_into_or_refused(case: Case, tmp_path: Path) -> None:
    """Such a byte may do no harm; if it does, it is said in one line."""
    words = case.make(tmp_path)
    before = contents(tmp_path)
    with nothing_computed():
        answer = lensrec(*words)
    assert answer.status in (0, 1), answer
    if answer.status:
        check_words(answer, case.named, str(tmp_path))
    assert not changes(before, contents(tmp_path))


def test_the_map_that_all_these_were_made_of_is_sound(tmp_path: Path) -> None:
    """Or nothing would have been shown by their being refused."""
    from lensrec.sky.io import read_map, read_mask
    from tests.bad_input.fits_files import Column, car, write

    for nside in (1, 2, 4, 8, 16):
        for name in ("m.fits", "m.fits.gz"):
            write(tmp_path / name, healpix(nside))
            assert read_map(tmp_path / name).maps.shape == (3, 12 * nside**2)
    write(tmp_path / "car.fits", car())
    assert read_map(tmp_path / "car.fits").nside >= 4
    write(tmp_path / "mask.fits", healpix(16, [Column("MASK", "D", [0.5] * 3072, "")]))
    assert read_mask(tmp_path / "mask.fits", nside=16).mean() == 0.5


def test_what_follows_the_last_part_of_a_file_does_no_harm(tmp_path: Path) -> None:
    import gzip

    from lensrec.sky.io import read_map

    (tmp_path / "m.fits").write_bytes(healpix(4) + b"\0" * BLOCK)
    (tmp_path / "m.fits.gz").write_bytes(gzip.compress(healpix(4) + b"\0" * BLOCK))
    a, b = (read_map(tmp_path / name).maps for name in ("m.fits", "m.fits.gz"))
    assert (a == b).all()


def test_columns_are_read_by_their_names_in_whatever_order(tmp_path: Path) -> None:
    from lensrec.sky.io import read_map
    from tests.bad_input.fits_files import iqu

    made = iqu(8)
    (tmp_path / "a.fits").write_bytes(healpix(8, made))
    (tmp_path / "b.fits").write_bytes(healpix(8, [made[2], made[0], made[1]]))
    a, b = (read_map(tmp_path / name).maps for name in ("a.fits", "b.fits"))
    assert (a == b).all()
