"""`hwnas specialize --data`: from an imported supernet and its user's images to a package like any other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import hwnas
from image_folders import CLASSES, image_folder
from published_files import checkpoint, predictor_file
from small_workspace import SETTINGS, SUPERNET

from hwnas.core.errors import InputError
from hwnas.core.images import Preprocessing
from hwnas.core.progress import silent
from hwnas.export.package import check_hashes, read_manifest
from hwnas.export.verify import predict
from hwnas.ofa_supernet.evaluate import BATCH, recalibrated
from hwnas.ofa_supernet.published import PublishedFolder
from hwnas.ofa_supernet.with_images import PublishedWithImages
from hwnas.pipeline.supernets import open_supernet, with_images
from hwnas.workspace import Workspace

ROOT = Path(__file__).parents[2]
NAME = "ofa-mbv3-w1.0"
SIZE = 112
LIMIT = "0.9ms"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("images") / "animals")


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a simulator and a published supernet of ten classes, with made-up weights; copy it."""
    path = tmp_path_factory.mktemp("imported") / "ws"
    (path / "devices").mkdir(parents=True)
    (path / "hwnas.toml").write_text(SETTINGS.replace(SUPERNET, NAME))
    text = (ROOT / "devices/v100-sim.toml").read_text()
    (path / "devices/local.toml").write_text(text.replace('name = "v100-sim"', 'name = "local"'))
    Workspace(path).import_supernet(checkpoint(path / "w1.0", classes=10), resolution=SIZE)
    Workspace(path).import_predictor(predictor_file(path / "acc.npz"))
    return path


@pytest.fixture(scope="session")
def packaged(imported: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A workspace with the package, the document that was printed, and what was told on stderr."""
    path = tmp_path_factory.mktemp("packaged") / "ws"
    shutil.copytree(imported, path)
    words = ("--latency", LIMIT, "--data", str(data), "--json", "--workspace", str(path))
    code, out, err = hwnas("specialize", *words)
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return path, document, err


@pytest.fixture
def own(imported: Path, tmp_path: Path) -> Path:
    shutil.copytree(imported, tmp_path / "ws")
    return tmp_path / "ws"


def refused(workspace: Path, *words: str) -> str:
    """What is told where nothing was begun."""
    code, out, err = hwnas("specialize", "--latency", LIMIT, *words, "--workspace", str(workspace))
    lines = [line for line in err.splitlines() if not line.startswith(("list ", "check images"))]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert not (workspace / "luts").exists()
    assert not (workspace / "export").exists()
    return lines[0]


def test_the_document_is_that_of_any_model(packaged: tuple[Path, dict[str, Any], str]) -> None:
    _, document, err = packaged
    assert (document["holds"], document["supernet"], document["weights"]) == (True, NAME, "trained")
    assert document["accuracy"] == {"top1": document["artifacts"][0]["top1"], "images": 100, "split": "test"}
    assert document["agreement"]["images"] == 100
    assert document["agreement"]["same_class"] >= 0.99
    assert document["choices"]["resolution"] == SIZE
    for stage in ("list train", "list val", "check images", "accuracy", "test"):
        assert f"{stage}: " in err


def test_the_package_says_what_it_was_made_from(packaged: tuple[Path, dict[str, Any], str], data: Path) -> None:
    path, document, _ = packaged
    made = Path(document["package"])
    check_hashes(made)
    manifest = read_manifest(made)
    told = "folder animals (250 images in train, 100 in val)"
    assert manifest["labels"] == CLASSES
    assert manifest["provenance"]["dataset"] == "imagenet"
    assert manifest["provenance"]["images"] == {"from": told, "test": 100, "calibration": 100, "choice": 150}
    [accuracy] = [n for n in manifest["numbers"] if (n["metric"], n["kind"]) == ("accuracy", "measured")]
    assert accuracy["source"] == {"images": 100, "split": "test", "dataset": told, "file": "model.onnx"}
    preprocessing = manifest["preprocessing"]
    assert (preprocessing["resolution"], preprocessing["shorter_side"], preprocessing["crop"]) == (SIZE, 128, 0.875)
    assert told in (made / "README.md").read_text()
    for file in made.iterdir():
        assert str(data.parent).encode() not in file.read_bytes()
    assert Workspace(path).check().holds


def test_the_accuracy_is_the_file_s_own_on_images_of_val(
    packaged: tuple[Path, dict[str, Any], str], data: Path, tmp_path: Path
) -> None:
    _, document, _ = packaged
    made = Path(document["package"])
    shutil.copytree(made, tmp_path / "elsewhere")
    files = sorted(data.glob("val/*/*"))
    command = [sys.executable, str(tmp_path / "elsewhere/run.py"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    best = [json.loads(line)["classes"][0]["label"] for line in done.stdout.splitlines()]
    right = np.mean([label == file.parent.name for label, file in zip(best, files, strict=True)])
    assert document["accuracy"]["top1"] == pytest.approx(right, abs=1e-9)


def test_the_file_is_the_recalibrated_subnet(
    packaged: tuple[Path, dict[str, Any], str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same weights and images the same network comes again; images are asked for batch by batch."""
    path, document, _ = packaged
    stored = with_images(open_supernet(Workspace(path)), data)
    assert isinstance(stored, PublishedWithImages)
    calibration = stored.images("calibration").images
    asked: list[int] = []

    class Watched:
        def __len__(self) -> int:
            return len(calibration)

        def __getitem__(self, rows: slice) -> Any:
            asked.append(len(range(100)[rows]))
            return calibration[rows]

    arch = type(stored.space.largest).from_json(document["arch"])
    network = recalibrated(stored.load(), arch, Watched(), stored)
    assert asked == [BATCH] * 4
    made, test = Path(document["package"]), stored.images("test").first(30)
    preprocessing = Preprocessing.from_json(read_manifest(made)["preprocessing"])
    import torch

    with torch.inference_mode():
        logits = network(torch.from_numpy(preprocessing(test.images)))
    assert np.mean(predict(made / "model.onnx", test.images, preprocessing) == logits.argmax(1).numpy()) > 0.95


def test_the_same_images_every_time(imported: Path, data: Path) -> None:
    supernet = open_supernet(Workspace(imported))
    first, second = with_images(supernet, data), with_images(supernet, data)
    for split, count in (("calibration", 100), ("choice", 150), ("test", 100)):
        one, other = first.images(split), second.images(split)
        assert len(one) == len(one.images) == count
        assert one.images[:4].shape == (4, SIZE, SIZE, 3)
        assert np.array_equal(one.images[20:30], other.images[20:30])
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.first(5).images, one.images[:5])
        assert len(one.first(5)) == 5
    assert not np.array_equal(first.images("calibration").images[:4], first.images("choice").images[:4])


def test_labels_are_not_cut_off(tmp_path: Path, imported: Path) -> None:
    """Of a thousand classes, most have numbers that no byte holds."""
    classes = [f"n{index:04d}" for index in range(300)]
    folder = image_folder(tmp_path / "many", train=1, val=1, classes=classes)
    source = PublishedFolder(imported / "ofa_supernet" / NAME)
    many = type(source)(source.path)
    object.__setattr__(many, "source", source.source.model_copy(update={"classes": 300}))
    stored = with_images(many, folder)
    assert stored.images("test").labels.max() == 299
    assert stored.images("choice").first(100).labels.max() > 255


def test_data_and_arch_only(own: Path, data: Path) -> None:
    assert "leave out --data or --arch-only" in refused(own, "--data", str(data), "--arch-only")


def test_a_supernet_with_images_of_its_own(fresh: Path, data: Path) -> None:
    assert "has images of its own: leave --data out" in refused(fresh, "--data", str(data))


def test_no_data(own: Path) -> None:
    told = refused(own)
    assert "--data FOLDER" in told
    assert "--arch-only" in told


def test_no_weights(tmp_path: Path, imported: Path, data: Path) -> None:
    (tmp_path / "devices").mkdir()
    for name in ("hwnas.toml", "devices/local.toml"):
        shutil.copy(imported / name, tmp_path / name)
    Workspace(tmp_path).import_predictor(imported / "acc.npz", resolution=SIZE)
    for words in ((), ("--data", str(data))):
        told = refused(tmp_path, *words)
        assert f"has no weights yet: 'hwnas import supernet FILE --name {NAME}' adds them" in told
        assert "--arch-only" in told


def test_damaged_weights(own: Path, data: Path) -> None:
    path = own / f"ofa_supernet/{NAME}/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "is missing or damaged: remove the folder and import" in refused(own, "--data", str(data))


def test_a_folder_of_other_classes(own: Path, tmp_path: Path) -> None:
    other = image_folder(tmp_path / "other", train=1, val=1, classes=CLASSES[:9])
    assert "9 folders, and the network 10 classes" in refused(own, "--data", str(other))
    assert "is no folder" in refused(own, "--data", str(tmp_path / "none"))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_damaged_image_is_told_before_anything_is_measured(part: str, own: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / f"data/{part}/fox/fox_1.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    assert f"{part}/fox/fox_1.JPEG is damaged" in refused(own, "--data", str(tmp_path / "data"))


def test_from_python(own: Path, data: Path) -> None:
    with pytest.raises(InputError, match="leave out --data or --arch-only"):
        Workspace(own).specialize(LIMIT, arch_only=True, data=str(data))
    with pytest.raises(InputError, match="is no folder"):
        Workspace(own).specialize(LIMIT, data=own / "none", progress=silent)
