"""`hwnas import predictor` and `hwnas import supernet`: a folder that is whole after each, in whichever order."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import hwnas
from published_files import SHAPES, checkpoint, predictor_file
from small_workspace import SUPERNET

from hwnas.core.arch import ArchBatch
from hwnas.core.genetics import sample
from hwnas.evaluators.arrays import read_arrays
from hwnas.evaluators.published import PublishedPredictor
from hwnas.evaluators.released import RESNET_50
from hwnas.ofa_supernet import official
from hwnas.ofa_supernet.published import PublishedFolder
from hwnas.pipeline.supernets import load_predictor, open_supernet
from hwnas.workspace import Workspace

NAME = "ofa-mbv3-w1.0"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwnas.toml").write_text(f'supernet = "{NAME}"\n')
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/local.toml").write_text('name = "local"\n')
    predictor_file(tmp_path / "acc.npz")
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released network of width 1.0 with made-up weights and seven classes."""
    return checkpoint(tmp_path_factory.mktemp("released") / "ofa_mbv3_w1.0", classes=7)


def imported(*words: str) -> dict[str, Any]:
    code, out, err = hwnas("import", *words, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def refused(*words: str) -> str:
    code, out, err = hwnas("import", *words)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


def whole(workspace: Workspace, name: str = NAME) -> set[str]:
    """The files of a folder that is sealed, of which nothing is left lying about."""
    report = workspace.check()
    assert report.holds, report
    assert [path for path in workspace.supernets_folder.rglob("*") if path.name.endswith(".tmp")] == []
    assert not list(workspace.supernets_folder.glob(".*"))
    return {path.name for path in workspace.supernet_folder(name).iterdir()}


def test_a_predictor_alone(workspace: Workspace) -> None:
    found = imported("predictor", "acc.npz")
    assert list(found) == [
        *("schema", "supernet", "folder", "space", "resolution", "classes", "weights", "predictor"),
        *("accuracy_model", "accuracy_note", "accuracy_model_published"),
    ]
    assert (found["supernet"], found["space"], found["resolution"]) == (NAME, "ofa_mbv3/w1.0-r224/v1", 224)
    assert (found["folder"], found["weights"]) == (f"ofa_supernet/{NAME}", None)
    digest = hashlib.sha256(Path("acc.npz").read_bytes()).hexdigest()
    assert (found["predictor"]["name"], found["predictor"]["sha256"]) == ("acc.npz", digest)
    assert "5.9 points" in found["accuracy_note"]
    assert whole(workspace) == {"source.toml", "predictor.safetensors", "README.md", "hashes.json"}

    supernet = open_supernet(workspace)
    assert isinstance(supernet, PublishedFolder)
    batch = sample(supernet.space, 20, np.random.default_rng(0))
    mine, theirs = load_predictor(supernet), PublishedPredictor.of(supernet.space, read_arrays(Path("acc.npz")))
    np.testing.assert_array_equal(mine.evaluate(batch), theirs.evaluate(batch))
    assert supernet.labels[:2] == ["0", "1"]
    assert len(supernet.labels) == 1000


@pytest.mark.parametrize("order", [("predictor", "supernet"), ("supernet", "predictor")])
def test_the_order_does_not_matter(order: tuple[str, str], workspace: Workspace, weights: Path) -> None:
    files = {"predictor": "acc.npz", "supernet": str(weights)}
    for part in order:
        document = imported(part, files[part])
    assert document["classes"] == 7
    assert document["weights"]["name"] == weights.name
    assert document["predictor"]["name"] == "acc.npz"
    names = {"source.toml", "weights.safetensors", "predictor.safetensors", "README.md", "hashes.json"}
    assert whole(workspace) == names
    source = tomllib.loads((workspace.supernet_folder(NAME) / "source.toml").read_text())
    assert source["mean"] == [0.485, 0.456, 0.406]
    assert source["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    card = (workspace.supernet_folder(NAME) / "README.md").read_text()
    assert card.startswith(f"# {NAME}\n")
    assert weights.name in card


def test_the_weights_are_those_of_the_checkpoint(workspace: Workspace, weights: Path) -> None:
    imported("supernet", str(weights))
    stored = PublishedFolder(workspace.supernet_folder(NAME))
    network, original = stored.load(), official.supernet(official.read(weights))
    arch = stored.space.arch([3, 5, 7, 3] * 5, [3, 4, 6, 3] * 5, [2, 3, 4, 2, 3], 224)
    same = official.arch([3, 5, 7, 3] * 5, [3, 4, 6, 3] * 5, [2, 3, 4, 2, 3], 224)
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network.subnet(arch)(images), original.subnet(same)(images))
    assert not network.training


def test_a_size_and_a_name_of_one_s_own(workspace: Workspace, weights: Path) -> None:
    found = imported("supernet", str(weights), "--resolution", "192", "--name", "mine")
    assert (found["supernet"], found["space"]) == ("mine", "ofa_mbv3/w1.0-r192/v1")
    assert imported("predictor", "acc.npz", "--supernet", "mine")["resolution"] == 192
    assert imported("predictor", "acc.npz", "--supernet", "mine", "--resolution", "192")["resolution"] == 192
    err = refused("predictor", "acc.npz", "--supernet", "mine", "--resolution", "224")
    assert "is for images of 192 x 192: leave --resolution out" in err
    assert "mine" in (workspace.supernets_folder / "mine/README.md").read_text()


def test_the_predictor_serves_both_widths(workspace: Workspace) -> None:
    assert imported("predictor", "acc.npz", "--supernet", "ofa-mbv3-w1.2")["space"] == "ofa_mbv3/w1.2-r224/v1"


def test_again_and_again(workspace: Workspace) -> None:
    imported("predictor", "acc.npz")
    folder = workspace.supernet_folder(NAME)
    before = (folder / "predictor.safetensors").read_bytes()
    (folder / "notes.txt").write_text("one's own")
    predictor_file(Path("other.safetensors"), seed=1)
    assert imported("predictor", "other.safetensors")["predictor"]["name"] == "other.safetensors"
    assert (folder / "predictor.safetensors").read_bytes() != before
    assert "notes.txt" in whole(workspace)


def test_a_text_for_a_person(workspace: Workspace, weights: Path) -> None:
    code, out, _ = hwnas("import", "predictor", "acc.npz")
    assert code == 0
    assert out.startswith(f"ofa_supernet/{NAME}: accuracy predictor imported from acc.npz\n")
    assert "5.9 points above" in out
    assert f"hwnas specialize --supernet {NAME} --arch-only" in out
    code, out, _ = hwnas("import", "supernet", str(weights), "--name", "other")
    assert code == 0
    assert f"weights imported from {weights.name}" in out
    assert "hwnas import predictor FILE --supernet other" in out
    assert "--data FOLDER" not in out
    code, out, _ = hwnas("import", "supernet", str(weights))
    assert code == 0
    assert f"hwnas specialize --supernet {NAME} --data FOLDER --latency 30ms" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["predictor", "none.npz"], "No such file"),
        (["predictor", "hwnas.toml"], "ends with .npz"),
        (["predictor", "acc.npz", "--supernet", "other"], "choose one of ofa-mbv3-w1.0, ofa-mbv3-w1.2"),
        (["predictor", "acc.npz", "--supernet", "../other"], "cannot name a supernet"),
        (["predictor", "acc.npz", "--supernet", "ofa-resnet50"], "only of ofa_mbv3/w1.0 and ofa_mbv3/w1.2"),
        (["predictor", "acc.npz", "--supernet", "ofa-proxyless-w1.3"], "only of ofa_mbv3/w1.0 and ofa_mbv3/w1.2"),
        (["predictor", "acc.npz", "--resolution", "204"], "only of 112, 128, 144, 160, 176, 192, 208, 224"),
        (["predictor", "acc.npz", "--resolution", "0"], "--resolution"),
        (["predictor", "weights.npz"], "weights.npz is none of the published accuracy models"),
        (["supernet", "none.pth"], "No such file"),
        (["supernet", "hwnas.toml"], "is damaged, or holds more than weights"),
        (["supernet", "acc.npz"], "acc.npz"),
        (["supernet", "some.pth"], "not a state dict of a published"),
    ],
)
def test_a_bad_file_leaves_nothing(words: list[str], hint: str, workspace: Workspace) -> None:
    np.savez("weights.npz", a=np.zeros(3))
    torch.save({"state_dict": {"a": torch.zeros(3)}}, "some.pth")
    assert hint in refused(*words)
    assert not workspace.supernets_folder.exists()


def test_a_bad_file_leaves_what_was_there(workspace: Workspace) -> None:
    imported("predictor", "acc.npz")
    before = {path.name: path.read_bytes() for path in workspace.supernet_folder(NAME).iterdir()}
    np.savez("weights.npz", a=np.zeros(3))
    refused("predictor", "weights.npz")
    assert {path.name: path.read_bytes() for path in workspace.supernet_folder(NAME).iterdir()} == before


def test_other_folders_are_left_alone(fresh: Path, weights: Path) -> None:
    acc = fresh / "acc.npz"
    predictor_file(acc)
    for words in (["predictor", str(acc), "--supernet", SUPERNET], ["supernet", str(weights), "--name", SUPERNET]):
        err = refused(*words, "--workspace", str(fresh))
        assert "holds something else than a published supernet" in err
    (fresh / "ofa_supernet/file").write_text("")
    assert "something else" in refused("supernet", str(weights), "--name", "file", "--workspace", str(fresh))


def test_weights_of_another_network_than_the_folder_s(workspace: Workspace, weights: Path) -> None:
    imported("predictor", "acc.npz", "--supernet", "ofa-mbv3-w1.2")
    err = refused("supernet", str(weights), "--name", "ofa-mbv3-w1.2")
    assert "is of ofa_mbv3/w1.2-r224/v1" in err
    assert "--name" in err


@pytest.mark.parametrize(
    ("published", "name", "space"),
    [
        ("ofa_mbv3_d234_e346_k357_w1.2", "ofa-mbv3-w1.2", "ofa_mbv3/w1.2-r224/v1"),
        ("ofa_proxyless_d234_e346_k357_w1.3", "ofa-proxyless-w1.3", "ofa_proxyless/w1.3-r224/v1"),
        ("ofa_resnet50", "ofa-resnet50", "ofa_resnet50-r224/v1"),
    ],
)
def test_every_released_network_is_told_from_its_weights(
    published: str, name: str, space: str, workspace: Workspace, tmp_path: Path
) -> None:
    found = imported("supernet", str(checkpoint(tmp_path / "file", SHAPES["released"][published], classes=2)))
    assert (found["supernet"], found["space"], found["accuracy_model_published"]) == (
        name,
        space,
        "proxyless" not in name,
    )
    stored = PublishedFolder(workspace.supernet_folder(name))
    with torch.no_grad():
        assert stored.load().extract(stored.space.smallest)(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


def test_the_accuracy_model_of_resnet(workspace: Workspace) -> None:
    predictor_file(Path("resnet.npz"), released=RESNET_50)
    known = "only of 128, 144, 160, 176, 192, 224, 240, 256"
    assert known in refused("predictor", "resnet.npz", "--resolution", "208")
    found = imported("predictor", "resnet.npz")
    assert (found["supernet"], found["space"]) == ("ofa-resnet50", "ofa_resnet50-r224/v1")


def test_what_nobody_ranks(workspace: Workspace, tmp_path: Path) -> None:
    shapes = SHAPES["released"]["ofa_proxyless_d234_e346_k357_w1.3"]
    code, out, _ = hwnas("import", "supernet", str(checkpoint(tmp_path / "file", shapes, classes=2)))
    assert code == 0
    assert "no accuracy predictor was published for it" in out
    code, _, err = hwnas("specialize", "--latency", "1s", "--arch-only", "--supernet", "ofa-proxyless-w1.3")
    assert (code, err.count("\n")) == (2, 1)
    assert "none was published for it: its subnets cannot be ranked" in err


def test_widths_that_nobody_released(workspace: Workspace, tmp_path: Path) -> None:
    narrow = checkpoint(tmp_path / "narrow.pth", SHAPES["narrow"]["mbv3"])
    assert "has other widths than ofa-mbv3-w1.0" in refused("supernet", str(narrow))


@pytest.mark.parametrize("damage", ["change", "remove", "source", "key", "sizes"])
def test_check_sees_damage(damage: str, workspace: Workspace) -> None:
    imported("predictor", "acc.npz")
    folder = workspace.supernet_folder(NAME)
    if damage == "change":
        (folder / "predictor.safetensors").write_bytes(b"predictor")
    elif damage == "remove":
        (folder / "predictor.safetensors").unlink()
    elif damage == "source":
        (folder / "source.toml").write_text("space = ")
    elif damage == "key":
        (folder / "source.toml").write_text('space = "ofa_mbv3/w1.0-r224/v1"\nwidth = 3\n')
    else:
        (folder / "source.toml").write_text('space = "ofa_mbv3/w1.0/v1"\n')
    [(kind, detail)] = [(item.kind, item.detail) for item in workspace.check().items if not item.ok]
    assert kind == "supernet"
    assert str(folder) in detail
    assert "import" in detail


def test_a_folder_that_is_not_there_says_how_it_is_made(workspace: Workspace) -> None:
    proxyless = "ofa-proxyless-w1.3"
    for name, made_by in ((NAME, f"predictor FILE --supernet {NAME}"), (proxyless, "supernet FILE")):
        for command in (["specialize", "--latency", "1s", "--arch-only"], ["profile"], ["report"]):
            code, out, err = hwnas(*command, "--supernet", name)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert f"'hwnas import {made_by}' makes it" in err


def test_what_is_missing_is_told_before_anything_is_measured(workspace: Workspace, weights: Path) -> None:
    imported("supernet", str(weights))
    code, _, err = hwnas("specialize", "--latency", "1s", "--arch-only")
    assert code == 2
    assert f"has no accuracy predictor: 'hwnas import predictor FILE --supernet {NAME}' adds it" in err
    imported("predictor", "acc.npz")
    code, _, err = hwnas("specialize", "--latency", "1s")
    assert code == 2
    assert "holds no images to recalibrate and test a subnet on: name a folder of them with --data FOLDER" in err
    assert "or give --arch-only for an architecture alone" in err
    assert not workspace.tables_folder.exists()


def test_from_python(workspace: Workspace, weights: Path) -> None:
    report = workspace.import_predictor("acc.npz", supernet="ofa-mbv3-w1.2", resolution=160)
    assert report.folder.space.layout.resolutions == (160,)
    assert workspace.import_supernet(weights, name="mine").to_json()["classes"] == 7
    one = ArchBatch.of([report.folder.space.largest])
    assert load_predictor(report.folder).evaluate(one).shape == (1,)
