"""`hwnas import lut` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import hwnas
from published import NSGANETV2, OFA, PROXYLESS, write

from hwnas.cli.import_ import FORMATS
from hwnas.luts import published


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwnas.toml").write_text("")
    write(tmp_path, "224.yaml", OFA)
    write(tmp_path, "i7.yaml", NSGANETV2)
    write(tmp_path, "mobile.yaml", PROXYLESS)
    return tmp_path


def test_the_formats_are_those_that_are_read() -> None:
    assert tuple(published.FORMATS) == FORMATS


def test_one_document_on_stdout(folder: Path) -> None:
    code, out, err = hwnas("import", "lut", "224.yaml", "--device", "note10", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert list(document) == [
        *("schema", "device", "table", "space", "format", "files", "rows", "left_out", "resolutions", "latency_ms"),
        "statistics",
    ]
    assert document["table"] == "luts/note10/ofa_mbv3-w1.2-v1/table.csv"
    assert (folder / document["table"]).is_file()
    assert (document["schema"], document["device"], document["format"]) == (1, "note10", "ofa")


def test_a_text_for_a_person(folder: Path) -> None:
    code, out, _ = hwnas("import", "lut", "i7.yaml", "--device", "i7")
    assert code == 0
    assert out.startswith("luts/i7/ofa_mbv3-w1.2-v1/table.csv: 12 rows of ofa_mbv3/w1.2/v1, imported from i7.yaml")
    assert "left out  1 published key" in out
    assert "from 79 to 159 ms" in out
    assert "nothing was measured here" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "FILE"),
        (["224.yaml"], "--device"),
        (["224.yaml", "--device", "a", "--format", "mnasnet"], "--format"),
        (["224.yaml", "--device", "a", "--resolution", "0"], "--resolution"),
        (["none.yaml", "--device", "a"], "No such file"),
        (["224.yaml", "--device", "../a"], "no name of a device"),
        (["mobile.yaml", "--device", "a", "--format", "ofa"], "name another --format"),
        (["224.yaml", "--device", "a", "--space", "ofa_mbv3/w1.0/v1"], "no network of ofa_mbv3/w1.0/v1"),
        (["hwnas.toml", "--device", "a"], "name a published table"),
        (["224.yaml", "--device", "a", "--workspace", "nowhere"], "hwnas init"),
    ],
)
def test_bad_input_is_one_line_and_2(folder: Path, words: list[str], hint: str) -> None:
    code, out, err = hwnas("import", "lut", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("hwnas: error: ")
    assert hint in err
    assert not (folder / "luts").exists()
