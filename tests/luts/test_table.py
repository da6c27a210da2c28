"""Tables come back as they were written, or say what to do."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import InputError
from hwnas.core.metrics import Measurement
from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.luts import LatencyTable, Provenance, Row
from hwnas.luts.table import COLUMNS, Imported

FACTS = {"device": "board", "cpu": "Some CPU", "threads": 1, "runtime": "onnxruntime", "runtime_version": "1.0"}
positive = st.floats(1e-6, 1e6)


def net(channels: int) -> NetSpec:
    return NetSpec((3, 8, 8), (Op("conv", "c", (INPUT,), 3, (channels, 8, 8), kernel=3),))


def table(rows: dict[str, Row], **more) -> LatencyTable:
    fields = {"rows": len(rows), "samples": 1, "median_spread": 0.0, "seconds": 1.0, "device_seconds": 1.0, **more}
    return LatencyTable(rows, Provenance(space="toy/v1", device=FACTS, date="2025-01-01T00:00:00+00:00", **fields))


def sample() -> LatencyTable:
    return table({net(c).key(): Row.of(Measurement(np.arange(1.0, 12.0) * c)) for c in (1, 2, 3)})


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text("abc|@,-\"'x1\n ", min_size=1), st.builds(Row, positive, positive, positive, st.integers(1)), min_size=1
    )
)
def test_round_trip_is_exact(tmp_path_factory, rows):
    rows = {key.strip() or "k": row for key, row in rows.items()}
    rows = {key: Row(r.median_ms, r.p90_ms, r.spread, min(r.samples, 2**40)) for key, r in rows.items()}
    path = tmp_path_factory.mktemp("table") / "t.csv"
    table(rows).write(path)
    assert LatencyTable.read(path).rows == rows


def test_provenance_stands_beside_it(tmp_path):
    written = sample()
    written.write(tmp_path / "t.csv")
    read = LatencyTable.read(tmp_path / "t.csv")
    assert read.provenance.device == FACTS
    assert read.provenance.csv_sha256 == written.sha256() == read.sha256()
    assert (tmp_path / "t.csv").read_text().startswith(",".join(COLUMNS) + "\n")
    assert json.loads((tmp_path / "t.json").read_text())["space"] == "toy/v1"


def test_a_row_by_its_block():
    assert sample().row(net(2)) == Row.of(Measurement(np.arange(1.0, 12.0) * 2))


def test_a_missing_row_is_named():
    with pytest.raises(InputError, match=r"no row '3x8x8\|conv-9x8x8.*run `hwnas profile --device .*`"):
        sample().row(net(9))


def test_a_failed_row_says_why():
    with pytest.raises(InputError, match="out of memory"):
        table({}, failed={net(9).key(): "out of memory"}).row(net(9))


def test_a_row_that_was_not_imported_says_from_where():
    files = ({"name": "224.yaml", "sha256": "", "keys": 3},)
    origin = Imported(format="ofa", files=files, statistics="", resolutions=(176, 224))
    with pytest.raises(
        InputError, match=r"covers images of 176, 224 pixels\): import a file .* beside 224.yaml"
    ) as caught:
        table({}, imported=origin).row(net(9))
    assert "hwnas profile" not in str(caught.value)


def test_no_table(tmp_path):
    with pytest.raises(InputError, match=r"run `hwnas profile --device .*`"):
        LatencyTable.read(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.json"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated(tmp_path, name, share):
    sample().write(tmp_path / "t.csv")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"run `hwnas profile --device .*` again") as caught:
        LatencyTable.read(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_edited(tmp_path):
    sample().write(tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text.replace("6.0", "5.0"))
    with pytest.raises(InputError, match="was changed"):
        LatencyTable.read(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["", "key\nx\n", "key,median_ms,p90_ms,spread,samples,disturbed\nx,fast,1,1,1\n"])
def test_a_csv_that_is_no_table(tmp_path, text):
    provenance = sample().provenance.model_copy(update={"csv_sha256": hashlib.sha256(text.encode()).hexdigest()})
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "t.json").write_text(provenance.model_dump_json())
    with pytest.raises(InputError, match="is no latency table"):
        LatencyTable.read(tmp_path / "t.csv")
