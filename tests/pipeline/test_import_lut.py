"""An import never takes away what was measured, and nothing that was imported without saying so."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import FBNET, OFA, PROXYLESS, edited, write

from hwnas.core.errors import InputError
from hwnas.luts import LatencyTable
from hwnas.workspace import Workspace

FOLDER = Path("luts/phone/ofa_mbv3-w1.2-v1")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "hwnas.toml").write_text("")
    return Workspace(tmp_path)


def ofa(workspace: Workspace, text: str = OFA, name: str = "224.yaml") -> Path:
    return write(workspace.path, name, text)


def tables(workspace: Workspace) -> list[tuple[bool, str]]:
    return [(item.ok, item.detail) for item in workspace.check().items if item.kind == "table"]


def test_an_import_is_checked_and_read_again(workspace: Workspace) -> None:
    report = workspace.import_lut([ofa(workspace)], "phone")
    assert report.path == workspace.path / FOLDER / "table.csv"
    assert LatencyTable.read(report.path).rows == report.table.rows
    ((ok, detail),) = tables(workspace)
    assert ok
    assert detail.startswith("12 rows in ms, imported 20")
    document = report.to_json()
    assert document["latency_ms"] == [79.0, 159.0]
    assert (document["rows"], document["resolutions"]) == (12, [])


def test_tables_of_no_space_have_no_range(workspace: Workspace) -> None:
    mobile = workspace.import_lut([write(workspace.path, "m.yaml", PROXYLESS)], "phone").to_json()
    board = workspace.import_lut([write(workspace.path, "f.csv", FBNET)], "board", resolution=32).to_json()
    assert mobile["table"].endswith("luts/phone/proxylessnas/table.csv")
    assert board["table"].endswith("luts/board/fbnet/table.csv")
    assert mobile["latency_ms"] is board["latency_ms"] is None
    assert [ok for ok, _ in tables(workspace)] == [True, True]


def test_the_same_import_changes_nothing(workspace: Workspace) -> None:
    first = workspace.import_lut([ofa(workspace)], "phone")
    provenance = first.path.with_suffix(".json")
    dated = provenance.read_text().replace(first.table.provenance.date, "2020-01-01")
    provenance.write_text(dated)
    workspace.import_lut(str(ofa(workspace)), "phone")
    assert provenance.read_text() == dated


def test_a_mended_file_takes_the_place_of_the_old_one(workspace: Workspace) -> None:
    workspace.import_lut([ofa(workspace)], "phone")
    mended = ofa(workspace, edited(OFA, "mean: 1.0", "mean: 1.5"))
    assert workspace.import_lut([mended], "phone").to_json()["latency_ms"] == [79.5, 159.5]


def test_rows_of_an_earlier_import_are_not_lost(workspace: Workspace) -> None:
    wide = OFA + (
        "expanded_conv-input:56x56x32-output:56x56x32-expand:192-kernel:7-stride:1-idskip:1-se:0-hs:0: {mean: 9.0}\n"
    )
    workspace.import_lut([ofa(workspace, wide, "wide.yaml")], "phone")
    with pytest.raises(
        InputError, match=r"has 1 rows that this import lacks, from wide.yaml: name these files as well"
    ):
        workspace.import_lut([ofa(workspace)], "phone")
    both = workspace.import_lut([ofa(workspace), workspace.path / "wide.yaml"], "phone")
    assert len(both.table) == 13


def test_a_measured_table_is_not_touched(workspace: Workspace) -> None:
    path = workspace.import_lut([ofa(workspace)], "phone").path
    table = LatencyTable.read(path)
    LatencyTable(table.rows, table.provenance.model_copy(update={"imported": None})).write(path)
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    with pytest.raises(InputError, match=r"was measured, and an import never touches what was: .*another --device"):
        workspace.import_lut([ofa(workspace)], "phone")
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    assert workspace.import_lut([ofa(workspace)], "phone-published").path.is_file()


@pytest.mark.parametrize("name", ["samples.jsonl", "table.csv"])
def test_what_does_not_say_where_it_comes_from_is_not_touched(workspace: Workspace, name: str) -> None:
    folder = workspace.path / FOLDER
    folder.mkdir(parents=True)
    (folder / name).write_text("something\n")
    with pytest.raises(InputError, match="name the import another --device, or move"):
        workspace.import_lut([ofa(workspace)], "phone")
    assert [file.name for file in folder.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["torn", "gone"])
def test_a_damaged_import_is_written_anew(workspace: Workspace, kind: str) -> None:
    """Gone is what a killed import leaves: the provenance comes first."""
    path = workspace.import_lut([ofa(workspace)], "phone").path
    if kind == "torn":
        path.write_bytes(path.read_bytes()[:-20])
        ((ok, detail),) = tables(workspace)
        assert (ok, "run `hwnas import lut` again" in detail) == (False, True)
    else:
        path.unlink()
    workspace.import_lut([ofa(workspace)], "phone")
    assert [ok for ok, _ in tables(workspace)] == [True]


def test_a_refused_import_writes_nothing(workspace: Workspace) -> None:
    with pytest.raises(InputError):
        workspace.import_lut([ofa(workspace, "nonsense: {mean: 1.0}")], "phone")
    assert not (workspace.path / "luts").exists()
