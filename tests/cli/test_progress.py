"""Progress without a terminal is a few lines on stderr."""

from __future__ import annotations

from hwnas.cli._progress import progress


def test_lines_at_the_start_and_the_end(capsys) -> None:
    with progress() as report:
        for done in range(1001):
            report("blocks", done, 1000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["blocks: 0/1000", "blocks: 1000/1000"]


def test_bars_on_a_terminal(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress() as report:
        report("blocks", 1, 2)
        report("rounds", 0, 3)
        report("blocks", 2, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "blocks" in err
    assert "2/2" in err
