"""What a person does with a far device besides measuring it: trust its host key, remove what the toolkit left there."""

from __future__ import annotations

from hwnas.core.errors import DeviceError, InputError
from hwnas.devices.profile import DeviceProfile


def trust(profile: DeviceProfile, replace: bool = False) -> str:
    """Record the host key that a device shows, or that of the first unknown server on the way; says what was done.

    Raises:
        InputError: the device is not reached over SSH, or another key is recorded and is not to be replaced.
        DeviceError: it cannot be reached.
    """
    from hwnas.devices import host_keys
    from hwnas.devices.ssh import SshConnection

    hop, key = SshConnection(_far(profile)).host_key()
    shown = f"{key.fingerprint} ({key.get_name()})"
    if host_keys.revoked(key, hop.known_hosts):
        raise InputError(f"{hop.name} shows {shown}, which is revoked: ask who runs it for the right key")
    known = host_keys.recorded(hop.name, hop.known_hosts)
    if key in known:
        return f"{hop.name} is trusted already: {shown}"
    if known and not replace:
        raise InputError(
            f"{hop.name} shows {shown}, recorded is {host_keys.fingerprints(known)}: if the device was set up anew, "
            "add --replace; if not, somebody may be in between"
        )
    if hop.known_hosts[0] == host_keys.SYSTEM:
        raise InputError(f"the SSH configuration keeps no host keys of {hop.name}: set known_hosts in the [ssh] table")
    host_keys.record(hop.name, key, hop.known_hosts[0], replace)
    others = [path for path in hop.known_hosts[1:] if set(host_keys.recorded(hop.name, [path])) - {key}]
    if others:
        raise InputError(f"the key of {hop.name} is recorded, but {others[0]} still holds another: remove it there")
    return f"{hop.name} is trusted from now on, in {hop.known_hosts[0]}: {shown}; compare it with what the device says"


def clean(profile: DeviceProfile) -> int:
    """Remove the runners that are kept on a device; the number of bytes that this freed.

    Raises:
        InputError: the device is not reached over SSH.
        DeviceError: it cannot be reached.
    """
    from hwnas.devices.ssh import LOST, SshConnection, last_words

    connection = SshConnection(_far(profile))
    try:
        channel = connection.program("clean")
        answer = b""
        try:
            while part := channel.recv(64):
                answer += part
            return int(answer)
        except (*LOST, ValueError) as error:
            raise DeviceError(f"cannot clean {profile.name}: {last_words(channel, error)}") from error
    finally:
        connection.close()


def _far(profile: DeviceProfile) -> DeviceProfile:
    if profile.simulated:
        raise InputError(f"{profile.name} is simulated on this machine: there is nothing to trust or to clean")
    if profile.kind != "ssh":
        raise InputError(f"{profile.name} is this machine: nothing is reached over SSH there")
    return profile
