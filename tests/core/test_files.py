"""Files are whole or absent; lines once written stay, whatever a killed writer left behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core import files
from hwnas.core.errors import InputError
from hwnas.core.files import append_line, leftovers, read_lines, sha256, write_atomic, write_json

DOCUMENTS = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=8), min_size=1, max_size=3)


def test_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_atomic(path, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device; free some space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_that_cannot_be_synced_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sync_folder", refuse)
    for write in (write_atomic, append_line):
        with pytest.raises(InputError, match=r"cannot write .*: Input/output error"):
            write(tmp_path / write.__name__, "x")


def test_a_new_journal_is_kept_by_a_sync_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    append_line(tmp_path / "deep" / "journal.jsonl", 1)
    assert synced == [tmp_path / "deep"]
    append_line(tmp_path / "deep" / "journal.jsonl", 2)
    assert synced == [tmp_path / "deep"]
    (tmp_path / "empty.jsonl").touch()  # of a writer killed before its first line
    append_line(tmp_path / "empty.jsonl", 1)
    assert synced == [tmp_path / "deep", tmp_path]


def test_leftovers_are_those_of_the_dead(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = [f".a.{gone.pid}.x.tmp", f".a.{gone.pid}.y.old.tmp", f".a.{2**70}.x.tmp"]
    kept = [
        f".a.{os.getpid()}.x.tmp",
        f".a.{os.getppid()}.x.tmp",
        f".b.{gone.pid}.x.tmp",
        f".a.{gone.pid}.x",
        ".a.².tmp",
    ]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    assert leftovers(tmp_path / "a") == sorted(tmp_path / name for name in left)


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = tmp_path / f".file.txt.{gone.pid}.a1b2.tmp"
    kept = [f".file.txt.{os.getpid()}.a1b2.tmp", f".other.txt.{gone.pid}.a1b2.tmp", ".file.txt.swp", ".file.txt.x.tmp"]
    for path in (left, *(tmp_path / name for name in kept)):
        path.write_text("half")
    write_atomic(tmp_path / "file.txt", "whole")
    assert {file.name for file in tmp_path.iterdir()} == {"file.txt", *kept}


def test_a_writer_killed_before_the_rename(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from hwnas.core import files\n"
        "files.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_atomic(Path(sys.argv[1]), 'new')"
    )
    write_atomic(tmp_path / "file.txt", "old")
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file.txt")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "file.txt").read_text() == "old"
    write_atomic(tmp_path / "file.txt", "newer")
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("write", [write_atomic, append_line])
def test_a_folder_that_is_none_is_one_line(tmp_path: Path, write: object) -> None:
    assert callable(write)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file") as caught:
        write(tmp_path / "file" / "inside", "x")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken" / "x").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot write"):
        write_atomic(tmp_path / "taken", "x")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_json_reads_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, "µ"]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, "µ"]}


def test_a_digest_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory; make it a readable file"):
        sha256(tmp_path)


def test_no_file_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []
    (tmp_path / "file").write_text("")
    assert read_lines(tmp_path / "file" / "none.jsonl") == []


def test_a_folder_has_no_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*; remove it"):
        read_lines(tmp_path)


@settings(max_examples=40, deadline=None)
@given(before=st.lists(DOCUMENTS, max_size=4), torn=DOCUMENTS, after=st.lists(DOCUMENTS, max_size=3), data=st.data())
def test_a_torn_line_harms_only_itself(
    before: list[object], torn: object, after: list[object], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        for document in before:
            append_line(path, document)
        whole = json.dumps(torn).encode()
        cut = data.draw(st.integers(0, len(whole) - 1))
        with path.open("ab") as file:
            file.write(whole[:cut])
        assert read_lines(path) == before
        for document in after:
            append_line(path, document)
        assert read_lines(path) == before + after


def test_a_line_that_lacks_only_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}')
    append_line(path, {"a": 3})
    assert read_lines(path) == [{"a": 1}, {"a": 2}, {"a": 3}]
