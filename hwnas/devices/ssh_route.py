"""The way to a device: which servers to go through, by the SSH configuration, as `ssh` would."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from hwnas.core.errors import InputError
from hwnas.devices import host_keys
from hwnas.devices.profile import SshSettings

DEEPEST = 16
"""Includes within includes, and jumps before jumps: as many as OpenSSH follows."""


@dataclass(frozen=True)
class Hop:
    """One server on the way, the device itself being the last."""

    host: str
    port: int
    user: str | None
    keys: tuple[str, ...]
    known_hosts: tuple[Path, ...]
    proxy_command: str | None = None

    @property
    def name(self) -> str:
        """As known_hosts files name it."""
        return host_keys.known_as(self.host, self.port)


def route(settings: SshSettings) -> list[Hop]:
    """The servers to go through, the device last.

    Raises:
        InputError: the configuration cannot be read, or says something that is no server.
    """
    path = settings.config.expanduser()
    if settings.key is not None and not settings.key.expanduser().exists():
        raise InputError(f"there is no key {settings.key}: correct key in the [ssh] table")
    try:
        lines = [*_overrides(settings), *(_lines(path) if path.exists() else ())]
        config = paramiko.SSHConfig.from_text("\n".join(lines))
        return list(_way(config, settings, "", settings.host, None))
    except (OSError, ValueError, paramiko.SSHException) as error:
        raise InputError(f"cannot use the SSH configuration {path}: {error}; correct it") from error


def _overrides(settings: SshSettings) -> Iterator[str]:
    """What the device file says, as the configuration's first lines: the first value of an option counts."""
    yield f"Host {settings.host}"
    if settings.port:
        yield f"Port {settings.port}"
    if settings.user:
        yield f'User "{settings.user}"'
    if settings.key:
        yield f'IdentityFile "{settings.key.expanduser()}"'
    yield "Host *"


def _way(
    config: paramiko.SSHConfig, settings: SshSettings, user: str, host: str, port: int | None, depth: int = 0
) -> Iterator[Hop]:
    """A server after all that it is reached through."""
    found = config.lookup(host)
    jumps = [jump for jump in found.get("proxyjump", "").split(",") if jump and jump != "none"]
    if depth > DEEPEST:
        raise ValueError(f"{host} is reached through itself")
    if jumps:  # the first by its own way, each other through the one before it
        yield from _way(config, settings, *_parsed(jumps[0]), depth=depth + 1)
    for jump in jumps[1:]:
        yield _hop(config, settings, *_parsed(jump), proxied=False)
    yield _hop(config, settings, user, host, port, proxied=not jumps)


def _hop(
    config: paramiko.SSHConfig, settings: SshSettings, user: str, host: str, port: int | None, *, proxied: bool
) -> Hop:
    found = config.lookup(host)
    if settings.known_hosts:
        files = [settings.known_hosts.expanduser()]
    else:
        names = shlex.split(found.get("userknownhostsfile", "~/.ssh/known_hosts"))
        files = [Path(name).expanduser() for name in names if name != "none"]
    command = found.get("proxycommand") if proxied else None
    return Hop(
        host=found.get("hostname", host),
        port=port or int(found.get("port", "22")),
        user=user or found.get("user"),
        keys=tuple(found.get("identityfile", ())),
        known_hosts=(*files, host_keys.SYSTEM),
        proxy_command=None if command == "none" else command,
    )


def _parsed(jump: str) -> tuple[str, str, int | None]:
    """User, host and port of [user@]host[:port] or [user@][host]:port."""
    user, _, place = jump.strip().removeprefix("ssh://").rpartition("@")
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    return user, host, int(port) if port else None


def _lines(path: Path, depth: int = 0) -> Iterator[str]:
    """The lines of a configuration, `Include`d files in their place (paramiko does not follow them)."""
    if depth > DEEPEST:
        raise ValueError(f"{path} includes itself")
    block = "Host *"
    for line in path.read_text().splitlines():
        words = line.replace("=", " ", 1).split()
        if words and words[0].lower() in ("host", "match"):
            block = line
        if len(words) < 2 or words[0].lower() != "include":
            yield line
            continue
        for pattern in words[1:]:
            place = Path(pattern).expanduser()
            place = place if place.is_absolute() else Path.home() / ".ssh" / place
            for name in sorted(Path(place.anchor).glob(str(place.relative_to(place.anchor)))):
                yield from _lines(name, depth + 1)
                yield block  # what follows belongs where it stands, not to the included file's last block
