"""Which sweeps a name, a folder or an address means."""

from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.folder.find import addresses, find, find_sweep
from sweeper.folder.layout import SweepFolder


def begun(root: Path) -> SweepFolder:
    root.mkdir(parents=True)
    (root / "space.yaml").write_text("name: a sweep\n")
    return SweepFolder(root)


def test_a_sweep_on_another_disk_is_one_of_the_folder_that_links_to_it(tmp_path: Path) -> None:
    here, there = begun(tmp_path / "results/here"), begun(tmp_path / "scratch/there")
    link = tmp_path / "results/there"
    link.symlink_to(there.root)
    said: list[str] = []
    assert find(str(link.parent), said.append) == {"here": here, "there": SweepFolder(link)}
    assert find(str(link), said.append) == find_sweep(str(link)) == SweepFolder(link)
    assert said == []


def test_a_sweep_with_a_link_in_it_is_left_out_of_a_folder_and_said(tmp_path: Path) -> None:
    here, odd = begun(tmp_path / "here"), begun(tmp_path / "odd")
    odd.table("trials").symlink_to(tmp_path)
    said: list[str] = []
    refused = (
        f"{odd.table('trials')}: a link; a sweep's folder has none, for it could lead anywhere; "
        "move it away to continue"
    )
    assert find(str(tmp_path), said.append) == {"here": here}
    assert said == [f"odd is left out: {refused}"]
    assert list(addresses(str(tmp_path))) == ["here", "odd"]
    with pytest.raises(UserError) as caught:
        find(str(odd.root), said.append)
    assert str(caught.value) == refused
    here.space.unlink()
    with pytest.raises(UserError, match="odd is left out: "):
        find(str(tmp_path), said.append)
