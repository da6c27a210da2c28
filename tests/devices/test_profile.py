"""Device files: what is read, and the one line where something is wrong."""

import tomllib
from pathlib import Path

import pytest

from hwnas.core.errors import InputError
from hwnas.devices.profile import BLOCKS, FINALISTS, NETWORKS, VERIFY, DeviceProfile, MeasuringRules, load_profile

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str, name: str = "board") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_the_shipped_file_is_the_defaults():
    assert load_profile(ROOT / "devices" / "local.toml") == DeviceProfile(name="local")


def test_the_shipped_comments_show_the_defaults(tmp_path):
    text = (ROOT / "devices" / "local.toml").read_text()
    head, rules = text.split("# [blocks]")
    shown = "[blocks]\n" + rules.replace("\n# ", "\n").replace("\n#\n", "\n")
    assert load_profile(write(tmp_path, head + shown, "local")) == DeviceProfile(name="local")
    sections = {name: set(table) for name, table in tomllib.loads(shown).items()}
    assert sections.pop("blocks") == set(MeasuringRules.model_fields)
    differing = {
        name: {key for key, value in rules if value != getattr(BLOCKS, key)}
        for name, rules in (("networks", NETWORKS), ("finalists", FINALISTS), ("verify", VERIFY))
    }
    assert sections == differing


def test_a_file_and_its_device_have_one_name(tmp_path):
    with pytest.raises(InputError, match=r"pixel\.toml describes 'board': give file and device one name"):
        load_profile(write(tmp_path, 'name = "board"', "pixel"))


def test_a_section_keeps_the_defaults_of_what_it_leaves_out(tmp_path):
    profile = load_profile(write(tmp_path, 'name = "board"\nthreads = 2\ncores = [0, 1]\n[verify]\nrounds = 7\n'))
    assert profile.threads == 2
    assert profile.cores == [0, 1]
    assert profile.verify == VERIFY.model_copy(update={"rounds": 7})
    assert profile.blocks == BLOCKS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name = "b"\nthread = 1', "unknown key 'thread'"),
        ('name = "b"\n[verify]\nround = 1', "unknown key 'verify.round'"),
        ('name = "b"\nkind = "toaster"', "kind"),
        ('name = "b"\nthreads = 0', "threads"),
        ('name = "../b"', "name"),
        ('name = "b"\n[verify]\nmin_seconds = 30', "min_seconds = 30 is beyond max_seconds = 20"),
        ("threads = 1", "name"),
        ('name = "b"\nkind = "ssh"\n[ssh]\nhost = "h"\nuser = "x\\nProxyCommand y"', "ssh.user"),
        ('name = "b"\nkind = "ssh"\n[ssh]\nhost = "h"\nkey = "x\\ny"', "ssh.key"),
        ('name = "b"\nkind = "ssh"\n[ssh]\nhost = "h"\npython = []', "ssh.python"),
        ("name = ", "not TOML"),
    ],
)
def test_bad_files(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        load_profile(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "board.toml" in str(caught.value)


def test_no_such_device_names_those_there_are(tmp_path):
    write(tmp_path, 'name = "board"')
    with pytest.raises(InputError, match="choose of: board"):
        load_profile(tmp_path / "pixel.toml")


def test_binary_file(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot read"):
        load_profile(tmp_path / "x.toml")
