"""Host keys: looked up strictly, recorded only when asked (`hwnas devices trust`), in OpenSSH's own file format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import paramiko

from hwnas.core.errors import DeviceError, InputError
from hwnas.core.files import write_atomic

SYSTEM = Path("/etc/ssh/ssh_known_hosts")


class HostKeyError(DeviceError):
    """The host key is not the recorded one, or none is recorded."""


def known_as(host: str, port: int) -> str:
    """How a known_hosts file names a server."""
    return host if port == 22 else f"[{host}]:{port}"


def recorded(name: str, files: Iterable[Path]) -> list[paramiko.PKey]:
    """The keys that the files hold for a server; a missing file holds none.

    Raises:
        InputError: a file cannot be read.
    """
    found = []
    for path in files:
        for line in _lines(path):
            if _is_of(line, name):
                try:
                    entry = paramiko.hostkeys.HostKeyEntry.from_line(line.strip())
                except (paramiko.hostkeys.InvalidHostKey, paramiko.SSHException, ValueError) as error:
                    raise InputError(f"{path} holds a damaged key of {name}: correct that line") from error
                if entry is not None:
                    found.append(entry.key)
    return found


def fingerprints(keys: Iterable[paramiko.PKey]) -> str:
    """For a person to compare."""
    return ", ".join(sorted({key.fingerprint for key in keys}))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read host keys in {path}: {error}; make it a readable text file") from error


def refuse_unknown(name: str, key: paramiko.PKey, files: Iterable[Path], device: str) -> None:
    """Raise HostKeyError unless `key` is recorded for the server `name`.

    A server has a key of each type; a recorded one of another type does not vouch for this one.
    """
    files = list(files)
    trusted = recorded(name, files)
    if revoked(key, files):
        raise HostKeyError(f"the host key of {name}, {key.fingerprint}, is revoked: ask who runs it for the right one")
    if key in trusted:
        return
    if not trusted:
        raise HostKeyError(
            f"the host key of {name} is not known: it is {key.fingerprint} ({key.get_name()}); if that is right, "
            f"record it with 'hwnas devices trust {device}'"
        )
    raise HostKeyError(
        f"the host key of {name} is not the recorded one: it is {key.fingerprint} ({key.get_name()}), recorded is "
        f"{fingerprints(trusted)}; somebody may be in between. If the device was set up anew, record the new key with "
        f"'hwnas devices trust {device} --replace'"
    )


def record(name: str, key: paramiko.PKey, path: Path, replace: bool) -> None:
    """Add a server's key to a known_hosts file; with `replace` in the place of all that is there for this server.

    Raises:
        InputError: the file cannot be written, or is none.
    """
    path = path.resolve()  # a link stays a link
    if path.exists() and not path.is_file():
        raise InputError(f"host keys cannot be kept in {path}: name a file as known_hosts in the [ssh] table")
    line = f"{name} {key.get_name()} {key.get_base64()}\n"
    kept = [old for old in _lines(path) if not (replace and _is_of(old, name))]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        write_atomic(path, "".join(f"{old}\n" for old in kept) + line)
        path.chmod(mode)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; make it writable") from error


def _is_of(line: str, name: str) -> bool:
    """Whether a known_hosts line names this server, plainly or hashed."""
    if not line.strip() or line.lstrip().startswith(("#", "@")):
        return False
    return any(one == name or _hashed(name, one) for one in line.split()[0].split(","))


def _hashed(name: str, text: str) -> bool:
    """Whether a hashed name in a known_hosts file is this one; a damaged one is nobody's."""
    try:
        return text.startswith("|1|") and paramiko.HostKeys.hash_host(name, text) == text
    except (ValueError, AssertionError, IndexError):
        return False


def revoked(key: paramiko.PKey, files: Iterable[Path]) -> bool:
    """Whether a file marks this key as revoked, for whichever server."""
    text = key.get_base64()
    return any(line.lstrip().startswith("@revoked") and text in line.split() for path in files for line in _lines(path))
