"""Settings: files, environment, overrides, and what is said when something is wrong."""

import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Settings, load

UUID = "00000000-0000-0000-0000-000000000001"
DOCS = Path(__file__).parents[3] / "docs" / "settings.md"


def write(folder: Path, text: str) -> Path:
    path = folder / "tapeline.toml"
    path.write_text(text)
    return path


def test_the_defaults_are_those_of_the_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert settings.server.sip == ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]
    assert settings.server.base_url == "http://127.0.0.1:8080"
    assert settings.server.port_range == (10000, 20000)
    assert settings.recording.default_format == "mp3"


def test_the_environment_wins_over_the_file_and_overrides_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, '[server]\nhttp = "127.0.0.1:1"\nnode = "file"\ndrain_seconds = 3\n')
    monkeypatch.setenv("TAPELINE_SERVER__NODE", "environment")
    monkeypatch.setenv("TAPELINE_SERVER__SIP", '["udp:127.0.0.1:0"]')
    settings = load(path, {"server": {"http": "127.0.0.1:2"}})
    assert (settings.server.http, settings.server.node, settings.server.drain_seconds) == ("127.0.0.1:2", "environment", 3)
    assert settings.server.sip == ["udp:127.0.0.1:0"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[server]\npublic_ur = "x"\n', "server.public_ur is not a known setting; did you mean 'public_url'?"),
        ("[recordings]\n", "[recordings] is not a known section; did you mean 'recording'?"),
        ('[[numbers]]\nmach = "1"\n', "did you mean 'match'?"),
        ("[server]\nrtp_threads = -1\n", "server.rtp_threads"),
        ('[server]\nrtp_ports = "20000-10000"\n', "LOW-HIGH"),
        ('[server]\nsip = ["sctp:0.0.0.0:5060"]\n', "udp:HOST:PORT"),
        ('[server]\nhttp = "8080"\n', "HOST:PORT"),
        ("[server\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(write(tmp_path, text))
    assert said in str(caught.value)


def test_an_unknown_variable_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPELINE_SERVER__DATTA", "/x")
    with pytest.raises(InvalidInput, match="did you mean 'data'"):
        load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read .*none.toml"):
        load(tmp_path / "none.toml")


def test_every_setting_is_documented() -> None:
    text = DOCS.read_text()
    missing = []
    for section, field in Settings.model_fields.items():
        model = field.annotation
        arguments = typing.get_args(model)
        model = arguments[0] if arguments else model
        assert isinstance(model, type) and issubclass(model, BaseModel)
        missing += [f"{section}.{key}" for key in model.model_fields if f"`{section}.{key}`" not in text]
    assert not missing, f"docs/settings.md does not tell of {missing}"


def test_an_option_that_is_wrong_names_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"the command line: server\.http: .*HOST:PORT"):
        load(None, {"server": {"http": "8080"}})


def test_http_is_served_with_the_certificate_unless_told_otherwise(tmp_path: Path) -> None:
    files = '[server]\ntls_cert = "a.pem"\ntls_key = "b.pem"\n'
    settings = load(write(tmp_path, files))
    assert settings.server.serves_https and settings.server.base_url == "https://127.0.0.1:8080"
    settings = load(write(tmp_path, files + "http_tls = false\n"))
    assert not settings.server.serves_https and settings.server.base_url == "http://127.0.0.1:8080"


def test_a_trunk_that_is_registered_with_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="registration needs a username"):
        load(write(tmp_path, '[[trunks]]\nname = "a"\ntarget = "x"\nregistration = true\n'))


def test_the_shortest_registration_is_not_longer_than_the_longest(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="register_min_seconds must not be more"):
        load(write(tmp_path, "[server]\nregister_min_seconds = 900\n"))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("advertise", '"not a host"', "an IP address or a host's name"),
        ("public_url", '"rec.example.org"', "must begin with http:// or https://"),
        ("vonage_files_base", '"ftp://rec.example.org"', "must begin with http:// or https://"),
        ("database", '"mysql://x"', "must be sqlite:///FILE or postgresql://"),
        ("objects", '"s3://"', "must be a folder, or s3://BUCKET/PREFIX"),
        ("objects", '"ftp://x"', "must be a folder, or s3://BUCKET/PREFIX"),
        ("roles", "[]", "at least 1 item"),
        ("http", '"8080"', "server.http: must be HOST:PORT"),
    ],
)
def test_values_that_cannot_be_are_refused_at_the_start(tmp_path: Path, key: str, value: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(write(tmp_path, f"[server]\n{key} = {value}\n"))
    assert f"server.{key}: " in str(caught.value) and told in str(caught.value)


@pytest.mark.parametrize(
    "text", ['[[numbers]]\nmatch = "1"\nanswer_url = "x.example"', f'[[applications]]\nid = "{UUID}"\nevent_url = "nonsense"']
)
def test_addresses_that_nothing_can_be_sent_to(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="must begin with http:// or https://"):
        load(write(tmp_path, text))


@pytest.mark.parametrize("host", ["auto", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "sip.example.org"])
def test_addresses_that_may_be_advertised(tmp_path: Path, host: str) -> None:
    assert load(write(tmp_path, f'[server]\nadvertise = "{host}"\n')).server.advertise == host


@pytest.mark.parametrize(("name", "value"), [("TAPELINE_SERVER__SIP", "udp:0.0.0.0:5060"), ("TAPELINE_NUMBERS", "[{")])
def test_a_variable_of_a_list_that_is_not_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=f"{name}: its value is given as JSON"):
        load(write(tmp_path, ""))
