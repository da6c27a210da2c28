"""Tables of other projects as tables of ours: rows, provenance, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published import (
    DATA,
    FBNET,
    NSGANETV2,
    OFA,
    OFA_SMALLEST_MS,
    PROXYLESS,
    edited,
    needs_data,
    real,
    real_net,
    write,
)

from hwnas import spaces
from hwnas.core.additive import distinct_blocks
from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.net import NetSpec
from hwnas.latency import TableSum
from hwnas.luts import LatencyTable
from hwnas.luts.published import fbnet, import_table, proxyless
from hwnas.luts.published.once_for_all import DIALECTS, keys
from hwnas.luts.published.timing import TAIL
from hwnas.luts.table import Imported

SPACE = spaces.load("ofa_mbv3/w1.2/v1")
SMALLEST = SPACE.network([3] * 20, [3] * 20, [2] * 5, 224)


def summed(table: LatencyTable, net: NetSpec) -> float:
    return sum(table.row(block).median_ms for block in net.blocks().values())


def imported(table: LatencyTable) -> Imported:
    found = table.provenance.imported
    assert found is not None
    return found


@pytest.mark.parametrize(("text", "form"), [(OFA, "ofa"), (NSGANETV2, "nsganetv2")])
def test_a_network_is_the_sum_of_its_keys(tmp_path: Path, text: str, form: str) -> None:
    table = import_table([write(tmp_path, "t.yaml", text)], "phone")
    assert (table.provenance.space, imported(table).format) == ("ofa_mbv3/w1.2/v1", form)
    assert summed(table, SMALLEST) == OFA_SMALLEST_MS
    arch = SPACE.arch([3] * 20, [3] * 20, [2] * 5, 224)
    assert TableSum(SPACE, table).estimate(ArchBatch.of([arch])).median[0] == OFA_SMALLEST_MS


def test_what_belongs_to_one_block_is_added_up(tmp_path: Path) -> None:
    """The stem is a first convolution of 1 +- 0.03 ms, 500 times, and a first block of 2 +- 0.04 ms, 400 times."""
    row = import_table([write(tmp_path, "t.yaml", OFA)], "phone").row(SMALLEST.blocks()["stem"])
    assert (row.median_ms, row.samples) == (3.0, 400)
    assert row.p90_ms == pytest.approx(3.0 + TAIL * 0.05)


@pytest.mark.parametrize("form", ["ofa", "nsganetv2"])
def test_any_network_of_a_whole_table(tmp_path: Path, form: str) -> None:
    """Every key of the small space at 80 pixels, each with a time of its own."""
    space = spaces.load("ofa_mbv3/small/v1")
    part = replace(space, layout=replace(space.layout, resolutions=(80,)))
    wanted = {key for net in distinct_blocks(part).values() for key in keys(net, DIALECTS[form])}
    times = dict(zip(sorted(wanted), np.random.default_rng(0).uniform(0.1, 9.0, len(wanted)).tolist(), strict=True))
    text = "".join(f"{key}: {{mean: {ms!r}}}\n" for key, ms in times.items())
    table = import_table([write(tmp_path, "t.yaml", text)], "phone")
    assert (table.provenance.space, imported(table).format) == (space.id, form)
    assert (imported(table).resolutions, imported(table).left_out) == ((80,), 0)
    drawn = sample(space, 200, np.random.default_rng(1))
    batch = drawn.take(drawn.genes[:, 0] == space.layout.resolutions.index(80))
    sums = [
        sum(times[key] for block in space.lower(arch).blocks().values() for key in keys(block, DIALECTS[form]))
        for arch in batch
    ]
    np.testing.assert_allclose(TableSum(space, table).estimate(batch).median, sums)


def test_the_provenance_says_where_it_comes_from(tmp_path: Path) -> None:
    table = import_table([write(tmp_path, "t.yaml", NSGANETV2)], "phone")
    about = table.provenance
    found = imported(table)
    assert about.device == {"device": "phone", "known_from": "the user"}
    assert (about.rows, about.failed, about.device_seconds) == (12, {}, 0.0)
    assert about.precision == "not published"
    assert found.expand == "ratio"
    assert [(file.name, file.keys) for file in found.files] == [("t.yaml", 16)]
    assert found.files[0].sha256 == hashlib.sha256(NSGANETV2.encode()).hexdigest()
    assert found.left_out == 1
    assert "1.2816 standard deviations" in found.statistics
    assert found.resolutions == ()  # kernels 5 and 7 are not there


def test_a_key_in_two_files_is_pooled(tmp_path: Path) -> None:
    again = edited(
        OFA,
        "Conv_2-input:1x1x1152-output:1x1x1536: {count: 500, mean: 0.125",
        "Conv_2-input:1x1x1152-output:1x1x1536: {count: 1500, mean: 0.625",
    )
    files = [write(tmp_path, "a.yaml", OFA), write(tmp_path, "b.yaml", again)]
    for order in (files, files[::-1]):
        table = import_table(order, "phone")
        assert summed(table, SMALLEST) == pytest.approx(OFA_SMALLEST_MS + 0.75 * 0.5)


def test_proxylessnas_has_a_row_for_each_key(tmp_path: Path) -> None:
    table = import_table([write(tmp_path, "mobile.yaml", PROXYLESS)], "phone")
    assert (table.provenance.space, len(table), imported(table).left_out) == ("proxylessnas", 6, 0)
    row = table.row(proxyless.block("Conv-input:224x224x3-output:112x112x32"))
    assert (row.median_ms, row.samples) == (4.0, 982)
    assert row.p90_ms == pytest.approx(4.0 + TAIL * 0.5)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_equal_blocks_of_fbnet_are_one_row(tmp_path: Path, form: str) -> None:
    text = FBNET
    if form == "json":
        text = json.dumps([None, None, [10000.0], [9000.0], [9500.0, 15000.0], [9600.0, 16000.0]])
    table = import_table([write(tmp_path, f"lut.{form}", text)], "board", resolution=32)
    blocks = fbnet.blocks(32)
    assert table.row(blocks["layer:2-block:0"]).median_ms == 10.0
    assert table.row(blocks["layer:6-block:1"]).median_ms == 15.5
    assert (table.provenance.space, table.row(blocks["layer:3-block:0"]).p90_ms) == ("fbnet", 9.0)
    assert "no published deviation" in imported(table).statistics


def test_one_image_size_of_several(tmp_path: Path) -> None:
    path = write(tmp_path, "t.yaml", OFA)
    assert import_table([path], "phone", resolution=224).rows == import_table([path], "phone").rows
    with pytest.raises(InputError, match=r"w1.2/v1 at 160 pixels is whole .* lacks Conv-input:160x160x3"):
        import_table([path], "phone", space=SPACE.id, resolution=160)
    with pytest.raises(InputError, match="has no images of 225 pixels"):
        import_table([path], "phone", space=SPACE.id, resolution=225)
    with pytest.raises(InputError, match=r"no network of .* is whole in t.yaml: .*--space"):
        import_table([path], "phone", resolution=225)


MEAN = "Conv-input:224x224x3-output:112x112x24: {count: 500, mean: 1.0, std: 0.03}"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "maps no key to a time"),
        ("just words", "maps no key to a time"),
        ("{}", "holds no times"),
        ("[]", "holds no times"),
        ("a: [1, 2", "is damaged"),
        ("a: \x00", "is damaged"),
        ("[" * 5000, "is damaged"),
        ("!!python/object/apply:os.system ['true']", "is damaged"),
        (edited(OFA, "mean: 1.0", "mean: fast"), "is damaged: Conv-input:224x224x3-output:112x112x24 has no mean"),
        (edited(OFA, "mean: 1.0", "mean: .nan"), "has no mean"),
        (edited(OFA, "mean: 1.0", "mean: -1"), "has no mean"),
        (edited(OFA, "std: 0.03", "std: .inf"), "has no mean"),
        (edited(OFA, "count: 400", "count: 0"), "has no mean"),
        (edited(OFA, MEAN, "Conv-input:224x224x3-output:112x112x24: 1.0"), "has no mean"),
        (edited(NSGANETV2, "var: 0.0004", "var: -1.0"), "has no mean"),
        (edited(OFA, "Conv_2", "Conv_7"), "Conv_7-input:1x1x1152-output:1x1x1536 is no key"),
        (OFA + MEAN, "is damaged: Conv-input:224x224x3-output:112x112x24 stands in it twice"),
        (edited(OFA, "expand:72", "expand:3"), "contradicts itself: .*expand:3-.*--format"),
        ("\n".join(line for line in OFA.splitlines() if "Logits" not in line), "no network of .* is whole"),
        (MEAN, "say which with --format"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint) as caught:
        import_table([write(tmp_path, "t.yaml", text)], "phone")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "holds no times"),
        ("layer,block\n2,0\n", "line 2 has no time"),
        ("a,b\n1,2\n", "line 2 lacks one of layer,block,latency_us"),
        ("layer,block,latency_us\n2,x,1\n", "line 2 lacks one of"),
        ("layer,block,latency_us\n2,0,1\n2,1,0\n", "line 3 has no time in microseconds"),
        ("layer,block,latency_us\n2,0,1\n2,0,1\n", "layer:2-block:0 stands in it twice"),
        ("layer,block,latency_us\n1,0,1\n", "layer:1-block:0 is no key"),
        ("layer,block,latency_us\n3,8,1\n", "layer:3-block:8 .*skips a layer that changes the shape"),
        ("\ufffd\x00", "holds no times|is damaged|lacks"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint) as caught:
        import_table([write(tmp_path, "t.csv", text)], "board", resolution=32)
    assert "\n" not in str(caught.value)


def test_what_does_not_belong_together(tmp_path: Path) -> None:
    ofa, mobile = write(tmp_path, "ofa.yaml", OFA), write(tmp_path, "mobile.yaml", PROXYLESS)
    with pytest.raises(InputError, match=r"ofa.yaml, mobile.yaml contradicts itself.*of one project at a time"):
        import_table([ofa, mobile], "phone")
    with pytest.raises(InputError, match="blocks are of no space here: leave out --space"):
        import_table([mobile], "phone", space=SPACE.id)
    with pytest.raises(InputError, match="ofa_resnet50/v1 has other blocks than inverted bottlenecks"):
        import_table([ofa], "phone", space="ofa_resnet50/v1")
    with pytest.raises(InputError, match="leave out --resolution"):
        import_table([mobile], "phone", resolution=224)
    with pytest.raises(InputError, match=r"no network of ofa_mbv3/w1.0/v1 is whole"):
        import_table([ofa], "phone", space="ofa_mbv3/w1.0/v1")
    with pytest.raises(InputError, match="no space is called"):
        import_table([ofa], "phone", space="mobile")
    with pytest.raises(InputError, match="No such file"):
        import_table([ofa, tmp_path / "none.yaml"], "phone")


@pytest.mark.parametrize("device", ["", "..", "a/b", ".hidden", "my phone"])
def test_a_name_that_names_no_folder(tmp_path: Path, device: str) -> None:
    with pytest.raises(InputError, match="is no name of a device"):
        import_table([write(tmp_path, "t.yaml", OFA)], device)


SIZES = (160, 176, 192, 208, 224)


@needs_data
def test_the_published_note10_table_gives_the_published_latency(tmp_path: Path) -> None:
    """note10_lat-30ms: the rows of its own image size sum to 29.97 ms; with the four others pooled in, to 29.95."""
    arch = SPACE.arch(*real_net("note10_lat-30ms"))
    files = [real(tmp_path, f"{size}_lookup_table.yaml") for size in SIZES]
    table = import_table(files[-1:], "note10")
    assert (imported(table).format, imported(table).left_out) == ("ofa", 0)
    assert imported(table).resolutions == (224,)
    assert round(summed(table, SPACE.lower(arch)), 2) == 29.97
    assert round(float(TableSum(SPACE, table).estimate(ArchBatch.of([arch])).median[0]), 2) == 29.97
    whole = import_table(files, "note10")
    assert imported(whole).resolutions == SIZES
    assert summed(whole, SPACE.lower(arch)) == pytest.approx(29.97, abs=0.03)


@needs_data
@pytest.mark.parametrize("space", ["ofa_mbv3/w1.0/v1", "ofa_mbv3/w1.2/v1"])
def test_the_published_desktop_table_covers_both_spaces(tmp_path: Path, space: str) -> None:
    path = real(tmp_path, "i7-8700K_lut.yaml")
    whole = spaces.load(space)
    table = import_table([path], "i7-8700K", space=space)
    assert (imported(table).format, imported(table).files[0].keys) == ("nsganetv2", 4050)
    assert imported(table).resolutions == whole.layout.resolutions
    least, greatest = TableSum(whole, table).reachable()
    assert 1 < least < greatest < 100


@needs_data
def test_the_published_pixel_table(tmp_path: Path) -> None:
    table = import_table([real(tmp_path, "mobile_trim.yaml")], "pixel1")
    assert (imported(table).format, imported(table).left_out, len(table)) == ("proxyless", 0, 72)


@needs_data
def test_the_published_raspberry_pi_table() -> None:
    path = Path(DATA or "") / "ofa_luts" / "rpi4_fbnet_lut.csv"
    table = import_table([path], "rpi4", resolution=32)
    assert (imported(table).files[0].keys, imported(table).left_out, len(table)) == (192, 0, 102)
    assert table.row(fbnet.blocks(32)["layer:2-block:0"]).median_ms == pytest.approx(10.430441)
