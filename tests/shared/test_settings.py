from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from shared.errors import BadRequest
from shared.settings import Secret, Settings, add_flags, read


def read_with(tmp_path: Path, typed: Sequence[str] = (), environment: Mapping[str, str] = {}, config: str | None = None) -> Settings:
    if config is not None:
        (tmp_path / "config.toml").write_text(config, "utf-8")
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return read(vars(parser.parse_args(typed)), {"PUYU_DATA_DIR": str(tmp_path), **environment})


class TestOrder:
    def test_default(self, tmp_path: Path) -> None:
        settings = read_with(tmp_path)
        assert (settings.host, settings.port, settings.share, settings.keep) == ("127.0.0.1", 0, False, 0)

    def test_config_over_default(self, tmp_path: Path) -> None:
        assert read_with(tmp_path, config="port = 1").port == 1

    def test_environment_over_config(self, tmp_path: Path) -> None:
        assert read_with(tmp_path, environment={"PUYU_PORT": "2"}, config="port = 1").port == 2

    def test_flag_over_environment(self, tmp_path: Path) -> None:
        assert read_with(tmp_path, ["--port", "3"], {"PUYU_PORT": "2"}, "port = 1").port == 3

    def test_our_variable_over_somebody_elses(self, tmp_path: Path) -> None:
        assert read_with(tmp_path, environment={"GRADIO_SERVER_PORT": "4", "PUYU_PORT": "2"}).port == 2
        assert read_with(tmp_path, environment={"GRADIO_SERVER_PORT": "4"}).port == 4

    def test_an_empty_variable_is_none(self, tmp_path: Path) -> None:
        assert read_with(tmp_path, environment={"PUYU_PORT": ""}, config="port = 1").port == 1

    def test_where_each_came_from(self, tmp_path: Path) -> None:
        settings = read_with(tmp_path, ["--port", "3"], {"PUYU_LANG": "zh"}, "keep = 2")
        assert {name: settings.origins[name] for name in ("port", "lang", "keep")} == {
            "port": "flag",
            "lang": "PUYU_LANG",
            "keep": str(tmp_path / "config.toml"),
        }


class TestFlags:
    @pytest.mark.parametrize("alias", ["--port", "--server-port", "--listen-port"])
    def test_aliases(self, tmp_path: Path, alias: str) -> None:
        assert read_with(tmp_path, [alias, "5"]).port == 5

    @pytest.mark.parametrize("typed", [["--port", "many"], ["--lang", "fr"], ["--nonsense"]])
    def test_wrong_ones(self, tmp_path: Path, typed: list[str]) -> None:
        with pytest.raises(SystemExit):
            read_with(tmp_path, typed)

    @pytest.mark.parametrize(
        ("typed", "name", "value"),
        [
            (["--device", "cuda:1"], "device", "cuda:1"), (["--dtype", "4bit"], "dtype", "4bit"),
            (["--max-memory", "6GB"], "memory", "6GB"),
            (["--ctx-size", "2048"], "context", 2048), (["--cpu-offload"], "offload", True), (["--idle-unload", "0"], "idle_unload", 0),
        ],
    )  # fmt: skip
    def test_where_models_run(self, tmp_path: Path, typed: list[str], name: str, value: object) -> None:
        assert getattr(read_with(tmp_path, typed), name) == value

    @pytest.mark.parametrize(
        "typed",
        [["--device", "gpu"], ["--device", "cuda:"], ["--device", "cuda:0x"], ["--memory", "6"], ["--memory", "150%"], ["--context", "-1"],
         ["--keep", "-1"], ["--idle-unload", "-5"]],
    )  # fmt: skip
    def test_what_is_no_place_and_no_amount(self, tmp_path: Path, typed: list[str]) -> None:
        with pytest.raises(BadRequest, match=typed[0]):
            read_with(tmp_path, typed)
        variable = f"PUYU_{typed[0][2:].replace('-', '_').upper()}"
        with pytest.raises(BadRequest, match=variable):
            read_with(tmp_path, environment={variable: typed[1]})

    def test_a_subcommand_does_not_undo_what_stood_before_it(self) -> None:
        common = argparse.ArgumentParser(add_help=False)
        add_flags(common)
        parser = argparse.ArgumentParser(parents=[common])
        parser.add_subparsers(dest="command").add_parser("chat", parents=[common])
        assert vars(parser.parse_args(["--port", "3", "chat", "--keep", "2"])) == {"port": 3, "command": "chat", "keep": 2}


class TestTypes:
    @pytest.mark.parametrize(
        ("text", "value"), [("1", True), ("TRUE", True), ("yes", True), ("on", True), ("0", False), ("False", False), ("off", False)]
    )
    def test_yes_and_no_in_a_variable(self, tmp_path: Path, text: str, value: bool) -> None:
        assert read_with(tmp_path, environment={"PUYU_SHARE": text}, config=f"share = {str(not value).lower()}").share is value

    @pytest.mark.parametrize("environment", [{"PUYU_SHARE": "perhaps"}, {"PUYU_PORT": "many"}, {"PUYU_LANG": "fr"}])
    def test_a_wrong_variable_is_named(self, tmp_path: Path, environment: dict[str, str]) -> None:
        with pytest.raises(BadRequest, match=next(iter(environment))):
            read_with(tmp_path, environment=environment)

    @pytest.mark.parametrize("config", ["port = true", "share = 1", "host = 7", 'lang = "fr"', "port = 1.5", "port = [1]"])
    def test_a_wrong_value_in_the_config_file(self, tmp_path: Path, config: str) -> None:
        with pytest.raises(BadRequest, match=r"config\.toml"):
            read_with(tmp_path, config=config)


class TestConfigFile:
    def test_dashes_are_fine(self, tmp_path: Path) -> None:
        assert read_with(tmp_path, config='api-base = "http://x/v1"').api_base == "http://x/v1"

    @pytest.mark.parametrize("config", ["frobnicate = 1", "origins = {}", "port =", "port = 1\nport = 2"])
    def test_an_unknown_key_or_no_toml(self, tmp_path: Path, config: str) -> None:
        with pytest.raises(BadRequest, match=r"config\.toml"):
            read_with(tmp_path, config=config)

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "config.toml").write_bytes(b'host = "\xff"')
        with pytest.raises(BadRequest):
            read_with(tmp_path)

    def test_the_one_that_was_named_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadRequest, match="other"):
            read_with(tmp_path, ["--config", str(tmp_path / "other.toml")])

    def test_another_one(self, tmp_path: Path) -> None:
        (tmp_path / "other.toml").write_text("port = 9", "utf-8")
        assert read_with(tmp_path, ["--config", str(tmp_path / "other.toml")], config="port = 1").port == 9


class TestSecrets:
    def test_never_shown(self, tmp_path: Path) -> None:
        settings = read_with(tmp_path, ["--api-key", "sk-flag"], {"PUYU_AUTH": "ann:pw-variable"})
        assert (settings.api_key, settings.auth) == ("sk-flag", "ann:pw-variable")
        for text in (settings.describe(), repr(settings), str(settings)):
            assert "sk-flag" not in text and "pw-variable" not in text
        assert "api-key = ********  (flag)" in settings.describe()

    def test_not_in_the_repr_of_what_holds_it(self) -> None:
        assert "sk" not in repr({"api_key": Secret("sk")}) and Secret("sk") == "sk"

    def test_describe_is_silent_about_defaults(self) -> None:
        assert Settings().describe() == ""


@pytest.mark.parametrize(
    ("settings", "public"),
    [
        (Settings(), False),
        (Settings(host="localhost"), False),
        (Settings(host="::1"), False),
        (Settings(share=True), True),
        (Settings(listen=True), True),
        (Settings(host="192.168.1.2"), True),
    ],
)
def test_public(settings: Settings, public: bool) -> None:
    assert settings.public is public


def test_folders() -> None:
    assert Settings(data_dir="/d").models_path == Path("/d/models")
    assert Settings(data_dir="/d", models_dir="/m").models_path == Path("/m")


@pytest.mark.parametrize("flag", ["config", "data_dir"])
def test_a_home_that_is_not_there(flag: str) -> None:
    with pytest.raises(BadRequest, match=r"~nobody-of-that-name/x: there is no such home"):
        read({flag: "~nobody-of-that-name/x"}, {})
