"""The way to a device, by the SSH configuration; and host keys, by OpenSSH's files."""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest

from hwnas.core.errors import InputError
from hwnas.devices import host_keys
from hwnas.devices.profile import SshSettings, parse_profile
from hwnas.devices.ssh_route import route

CONFIG = """
Include {folder}/more/*
Host board
    HostName 192.0.2.7
    Port 2222
    User pi
    IdentityFile {folder}/board_key
    UserKnownHostsFile {folder}/one {folder}/two
Host far
    HostName 198.51.100.9
    ProxyJump me@gate:2200,board
Host odd
    ProxyCommand nc %h %p
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a").write_text("Host gate\n    HostName 203.0.113.1\n")
    return path


def test_an_alias_is_completed(config: Path, tmp_path: Path) -> None:
    (hop,) = route(SshSettings(host="board", config=config))
    assert (hop.host, hop.port, hop.user, hop.keys) == ("192.0.2.7", 2222, "pi", (f"{tmp_path}/board_key",))
    assert hop.known_hosts == (tmp_path / "one", tmp_path / "two", host_keys.SYSTEM)
    assert hop.name == "[192.0.2.7]:2222"


def test_the_device_file_comes_before_the_configuration(config: Path, tmp_path: Path) -> None:
    (tmp_path / "k").write_text("")
    known = tmp_path / "h"
    settings = SshSettings(host="board", config=config, port=22, user="root", key=tmp_path / "k", known_hosts=known)
    (hop,) = route(settings)
    assert (hop.name, hop.user, hop.keys[0], hop.known_hosts) == (
        "192.0.2.7",
        "root",
        str(tmp_path / "k"),
        (known, host_keys.SYSTEM),
    )
    with pytest.raises(InputError, match="there is no key"):
        route(SshSettings(host="board", config=config, key=tmp_path / "none"))


def test_jumps_in_their_order_and_included_files(config: Path) -> None:
    hops = route(SshSettings(host="far", config=config))
    assert [hop.name for hop in hops] == ["[203.0.113.1]:2200", "[192.0.2.7]:2222", "198.51.100.9"]
    assert [hop.user for hop in hops] == ["me", "pi", None]


def test_a_jump_has_its_own_way(config: Path) -> None:
    config.write_text("Host inner\n ProxyJump mid\nHost mid\n ProxyJump [2001:db8::1]:2222\nHost mid inner\n User me\n")
    hops = route(SshSettings(host="inner", config=config))
    assert [(hop.name, hop.user) for hop in hops] == [("[2001:db8::1]:2222", None), ("mid", "me"), ("inner", "me")]


def test_what_follows_an_include_belongs_where_it_stands(config: Path, tmp_path: Path) -> None:
    config.write_text(f"Include {tmp_path}/more/*\nUser everybody\nHost board\n Include {tmp_path}/more/*\n Port 7\n")
    (board,) = route(SshSettings(host="board", config=config))
    (other,) = route(SshSettings(host="other", config=config))
    assert (board.user, board.port, other.user, other.port) == ("everybody", 7, "everybody", 22)


@pytest.mark.parametrize(
    "text",
    ["Host board\n Port abc\n", "Include {config}\n", "Host board\n ProxyJump board\n", "Host board\n ProxyJump a:x\n"],
)
def test_nonsense_is_one_line(config: Path, text: str) -> None:
    config.write_text(text.replace("{config}", str(config)))
    with pytest.raises(InputError, match="cannot use the SSH configuration") as caught:
        route(SshSettings(host="board", config=config))
    assert "\n" not in str(caught.value)


def test_an_address_is_no_port(config: Path) -> None:
    (hop,) = route(SshSettings(host="2001:db8::7", config=config))
    assert hop.name == "2001:db8::7"


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a;b", "a\nb", ""])
def test_no_shell_text_in_a_host(host: str) -> None:
    with pytest.raises(InputError, match="host"):
        parse_profile({"name": "x", "kind": "ssh", "ssh": {"host": host}}, "x.toml")


def test_a_proxy_command(config: Path) -> None:
    (hop,) = route(SshSettings(host="odd", config=config))
    assert hop.proxy_command == "nc odd 22"


def test_without_a_configuration(tmp_path: Path) -> None:
    (hop,) = route(SshSettings(host="192.0.2.1", config=tmp_path / "none"))
    assert (hop.host, hop.port, hop.user, hop.keys) == ("192.0.2.1", 22, None, ())


@pytest.mark.parametrize("word", ["python3; rm -rf ~", "$(date)", "`date`", "a b", "a'b", 'a"b', "a|b", "a\nb", ""])
def test_no_shell_text_in_a_command(word: str) -> None:
    with pytest.raises(InputError, match="python"):
        parse_profile({"name": "x", "kind": "ssh", "ssh": {"host": "x", "python": [word]}}, "x.toml")


@pytest.mark.parametrize("document", [{"kind": "ssh"}, {"ssh": {"host": "x"}}])
def test_kind_and_table_go_together(document: dict) -> None:
    with pytest.raises(InputError, match="go together"):
        parse_profile({"name": "x", **document}, "x.toml")


def test_a_password_is_an_unknown_key() -> None:
    with pytest.raises(InputError, match="password"):
        parse_profile({"name": "x", "kind": "ssh", "ssh": {"host": "x", "password": "y"}}, "x.toml")


@pytest.fixture(scope="module")
def keys() -> list[paramiko.PKey]:
    return [paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()]


def test_a_recorded_key_is_found_plain_and_hashed(tmp_path: Path, keys) -> None:
    file = tmp_path / "known"
    file.write_text("# comment without an end of line")
    host_keys.record("[192.0.2.7]:2222", keys[0], file, replace=False)
    hashed = paramiko.HostKeys.hash_host("board")
    file.write_text(file.read_text() + f"{hashed} {keys[1].get_name()} {keys[1].get_base64()}\n")
    host_keys.refuse_unknown("[192.0.2.7]:2222", keys[0], [file], "x")
    host_keys.refuse_unknown("board", keys[1], [file, tmp_path / "none"], "x")
    with pytest.raises(host_keys.HostKeyError, match="not the recorded one"):
        host_keys.refuse_unknown("board", keys[0], [file], "x")
    with pytest.raises(host_keys.HostKeyError, match="is not known"):
        host_keys.refuse_unknown("other", keys[0], [file], "x")
    host_keys.record("board", keys[0], file, replace=True)
    host_keys.refuse_unknown("board", keys[0], [file], "x")
    assert file.read_text().startswith("# comment without an end of line\n")
    assert hashed not in file.read_text()


def test_a_revoked_key_is_refused_though_recorded(tmp_path: Path, keys) -> None:
    file = tmp_path / "known"
    host_keys.record("board", keys[0], file, replace=False)
    file.write_text(f"@revoked * {keys[0].get_name()} {keys[0].get_base64()}\n" + file.read_text())
    with pytest.raises(host_keys.HostKeyError, match="revoked"):
        host_keys.refuse_unknown("board", keys[0], [file], "x")


@pytest.mark.parametrize("name", ["|1|x|y", "|1|", "|1|AAAA", "|1|a|b|c"])
def test_damaged_lines_of_others_do_not_matter(tmp_path: Path, keys, name: str) -> None:
    file = tmp_path / "known"
    file.write_text(f"{name} ssh-ed25519 AAAA\nother ssh-ed25519 !!!\n")
    host_keys.record("board", keys[0], file, replace=False)
    host_keys.refuse_unknown("board", keys[0], [file], "x")
    file.write_text(file.read_text() + "board ssh-ed25519 !!!\n")
    with pytest.raises(InputError, match="damaged key of board"):
        host_keys.refuse_unknown("board", keys[0], [file], "x")


def test_keys_are_kept_in_files_alone_and_their_mode_stays(tmp_path: Path, keys) -> None:
    with pytest.raises(InputError, match="name a file"):
        host_keys.record("board", keys[0], Path("/dev/null"), replace=True)
    (tmp_path / "known").touch(0o600)
    host_keys.record("board", keys[0], tmp_path / "known", replace=False)
    assert (tmp_path / "known").stat().st_mode & 0o777 == 0o600


def test_a_link_to_a_known_hosts_file_stays_a_link(tmp_path: Path, keys) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    host_keys.record("board", keys[0], tmp_path / "link", replace=False)
    assert (tmp_path / "link").is_symlink()
    assert "board" in (tmp_path / "real").read_text()
