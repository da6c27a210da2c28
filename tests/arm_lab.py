"""An aarch64 user land that runs on this machine under QEMU: Python, numpy and onnxruntime from Debian and PyPI.

Nothing is installed and no rights are needed: packages are downloaded into a folder and unpacked there, and QEMU's user
mode emulation looks into that folder first.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

QEMU = shutil.which("qemu-aarch64-static")
APT = shutil.which("apt-get")
MISSING = "needs Debian's apt-get and QEMU's emulation of aarch64: install qemu-user-static"
ROOT = Path(__file__).parents[1]

DEBIAN = ("python3-minimal", "libpython3.11-stdlib", "libstdc++6")
"""With what they depend on: some 40 packages, 16 MB. Debian 12's Python is 3.11, and so are the wheels."""
PYTHON = "3.11"
WHEELS = ("numpy", "onnxruntime")
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")

CPUINFO = """processor	: 0
BogoMIPS	: 48.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x1
CPU part	: 0xd07
CPU revision	: 0

"""
"""What an emulated Cortex-A57 would show. Of the host's own onnxruntime makes nonsense, and crashes (1.31)."""


def build(folder: Path) -> Path:
    """Make the user land in `folder`; the command that runs its Python."""
    assert QEMU is not None
    root = folder / "root"
    root.mkdir(parents=True)
    _debian(folder / "apt", root)
    _wheels(folder / "wheels", root / "opt/site")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(CPUINFO)
    cpus = root / "sys/devices/system/cpu"
    cpus.mkdir(parents=True)
    for name in ("possible", "present"):
        (cpus / name).write_text("0\n")
    command = folder / "python"
    command.write_text(
        f'#!/bin/sh\nexec "{QEMU}" -cpu cortex-a57 -L "{root}" -E PYTHONPATH="{root}/opt/site" '
        f'"{root}/usr/bin/python{PYTHON}" "$@"\n'
    )
    command.chmod(0o755)
    return command


def _debian(folder: Path, root: Path) -> None:
    """Download with an apt that has lists and a status of its own, and unpack."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    if sources.exists():
        shutil.copy(sources, folder / "parts")
    else:
        (folder / "parts/debian.list").write_text("deb http://deb.debian.org/debian bookworm main\n")
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder / "parts",
        "Debug::NoLocking": "true",
    }
    apt = [str(APT), "-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    _run([*apt, "update"])
    _run([*apt, "install", "-y", "--download-only", "--no-install-recommends", *DEBIAN])
    for package in (folder / "cache/archives").glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(root)])


def _wheels(folder: Path, site: Path) -> None:
    """The versions that are tested here, for another processor."""
    pinned = [line for line in (ROOT / "constraints.txt").read_text().split() if line.split("==")[0] in WHEELS]
    words = [word for platform in PLATFORMS for word in ("--platform", platform)]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    only = ["--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp"]
    _run([*pip, *only, *words, "-d", str(folder), *pinned])
    for wheel in folder.glob("*.whl"):
        shutil.unpack_archive(wheel, site, "zip")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
