from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import gguf, local
from shared import chatml
from shared.errors import BadRequest, ModelUnavailable
from tests.gguf_file import CHATML_TEMPLATE, METADATA
from tests.gguf_file import gguf as gguf_bytes

GOLDEN = Path(__file__).parent.parent / "golden"


def gguf_at(path: Path, **metadata: object) -> Path:
    path.write_bytes(gguf_bytes({**METADATA, **metadata}))
    return path


def folder(tmp_path: Path, *, template: str | None = CHATML_TEMPLATE, config: str = '{"max_position_embeddings": 4096}') -> Path:
    path = tmp_path / "tiny model"
    path.mkdir()
    (path / "config.json").write_text(config, "utf-8")
    (path / "model.safetensors").write_bytes(bytes(100))
    if template is not None:
        (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}), "utf-8")
    return path


class TestGguf:
    def test_a_file(self, tmp_path: Path) -> None:
        path = gguf_at(tmp_path / "My Model (v1).gguf")
        spec = local.spec_of_path(path)
        assert (spec.id, spec.backend, spec.dialect, spec.context, spec.licence) == (
            "My-Model-v1",
            "llama_cpp",
            "chatml",
            2048,
            "apache-2.0",
        )
        assert spec.sources[0].ref == str(path.resolve()) and spec.size_bytes == path.stat().st_size
        assert spec.default_system == ""

    def test_a_folder_with_one(self, tmp_path: Path) -> None:
        path = gguf_at(tmp_path / "m.gguf")
        assert local.spec_of_path(tmp_path) == local.spec_of_path(path)

    def test_a_folder_with_two(self, tmp_path: Path) -> None:
        gguf_at(tmp_path / "a.gguf")
        gguf_at(tmp_path / "b.gguf")
        with pytest.raises(ModelUnavailable, match="2 GGUF files"):
            local.spec_of_path(tmp_path)

    def test_the_context_is_limited(self, tmp_path: Path) -> None:
        assert local.spec_of_path(gguf_at(tmp_path / "m.gguf", **{"llama.context_length": 10**6})).context == local.CONTEXT_LIMIT

    def test_internlm2_is_told_by_its_vocabulary(self, tmp_path: Path) -> None:
        tokens = ["<unk>", "<s>", chatml.ACTION_START]
        path = gguf_at(
            tmp_path / "m.gguf", **{"tokenizer.chat_template": "{{ bos_token }}" + CHATML_TEMPLATE, "tokenizer.ggml.tokens": tokens}
        )
        assert local.spec_of_path(path).dialect == "internlm2"
        header = gguf.read_header(path, look_for=(chatml.ACTION_START,))
        assert local.dialect_of_header(header) == chatml.INTERNLM2

    def test_no_chatml(self, tmp_path: Path) -> None:
        vocabulary = {"tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a", " "], "tokenizer.ggml.token_type": [2, 3, 3, 1, 4]}
        other = {"tokenizer.chat_template": "[INST] {{ messages }} [/INST]", "tokenizer.ggml.eos_token_id": 2, **vocabulary}
        path = gguf_at(tmp_path / "m.gguf", **other)
        spec, header = local.spec_of_path(path), gguf.read_header(path)
        assert (spec.dialect, spec.default_system, "tools" in spec.capabilities) == ("template", "", False)
        assert local.dialect_of_header(header).stop == ("</s>",) and header.marks == {"<s>", "</s>"}
        assert local.template_of_header(header, local.dialect_of_header(header)) is not None

    def test_no_template(self, tmp_path: Path) -> None:
        path = gguf_at(tmp_path / "m.gguf", **{"tokenizer.chat_template": ""})
        with pytest.raises(BadRequest, match="template"):
            local.spec_of_path(path)
        path = gguf_at(tmp_path / "n.gguf", **{"tokenizer.chat_template": "", "general.architecture": "internlm2"})
        assert local.spec_of_path(path).dialect == "internlm2"


class TestSafetensors:
    def test_a_folder(self, tmp_path: Path) -> None:
        spec = local.spec_of_path(folder(tmp_path))
        assert (spec.id, spec.backend, spec.dialect, spec.context) == ("tiny-model", "transformers_local", "chatml", 4096)

    def test_the_template_of_its_own_file(self, tmp_path: Path) -> None:
        path = folder(tmp_path, template=None)
        (path / "chat_template.jinja").write_text(CHATML_TEMPLATE, "utf-8")
        assert local.spec_of_path(path).dialect == "chatml"

    def test_no_template(self, tmp_path: Path) -> None:
        with pytest.raises(BadRequest):
            local.spec_of_path(folder(tmp_path, template=None))

    @pytest.mark.parametrize(
        ("config", "dialect", "sees"),
        [
            ({"architectures": ["InternLM2ForCausalLM"]}, "internlm2", False),
            ({"architectures": ["InternLMForCausalLM"]}, "internlm1", False),
            ({"architectures": ["InternLMXComposer2ForCausalLM"], "img_size": 490}, "xcomposer2", True),
            ({"architectures": ["InternLMXComposer2ForCausalLM"], "img_size": 224}, "xcomposer2_writing", True),
            ({"architectures": ["InternLMXComposer2ForCausalLM"], "img_size": 560}, "xcomposer2d5", True),
            ({"architectures": ["InternLMXComposer2ForCausalLM"], "img_size": "big"}, "xcomposer2", True),
        ],
    )
    def test_a_family_whose_releases_have_no_template(self, tmp_path: Path, config: object, dialect: str, sees: bool) -> None:
        spec = local.spec_of_path(folder(tmp_path, template=None, config=json.dumps(config)))
        assert (spec.dialect, "image" in spec.capabilities, "tools" in spec.capabilities) == (dialect, sees, dialect == "internlm2")

    @pytest.mark.parametrize(
        ("template", "config", "sees"),
        [
            ("[INST] {{ messages }} [/INST]", {"architectures": ["InternLM2ForCausalLM"]}, False),
            (CHATML_TEMPLATE, {"vision_config": {}, "model_type": "smolvlm"}, True),
            (CHATML_TEMPLATE, {"vision_config": {}, "model_type": "qwen2_5_vl"}, True),
            (CHATML_TEMPLATE, {"vision_config": {}, "model_type": "gemma3"}, False),
        ],
    )
    def test_what_is_rendered_with_its_own_template(self, tmp_path: Path, template: str, config: object, sees: bool) -> None:
        spec = local.spec_of_path(folder(tmp_path, template=template, config=json.dumps(config)))
        assert (spec.dialect, "image" in spec.capabilities, spec.default_system) == ("template", sees, "")

    def test_of_several_templates_the_default_one(self, tmp_path: Path) -> None:
        named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML_TEMPLATE}]
        path = folder(tmp_path, template=None)
        (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}), "utf-8")
        assert local.spec_of_path(path).dialect == "chatml"
        (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": [1, {"name": []}, {"template": "x"}]}), "utf-8")
        with pytest.raises(BadRequest):
            local.spec_of_path(path)

    @pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "chat_template.json"])
    def test_a_file_that_is_no_text(self, tmp_path: Path, name: str) -> None:
        path = folder(tmp_path)
        if name == "chat_template.json":
            (path / "tokenizer_config.json").unlink()
        (path / name).write_bytes(b"\xff\xfe")
        with pytest.raises(ModelUnavailable, match=name.replace(".", "[.]")):
            local.spec_of_path(path)

    @pytest.mark.parametrize("config", ["{", "\xff", "[" * 100_000])
    def test_a_broken_config(self, tmp_path: Path, config: str) -> None:
        with pytest.raises(ModelUnavailable, match=r"config\.json"):
            local.spec_of_path(folder(tmp_path, config=config))

    @pytest.mark.parametrize("config", ["[]", "{}", '{"max_position_embeddings": "many"}', '{"model_type": ["llama"]}'])
    def test_a_config_that_does_not_say(self, tmp_path: Path, config: str) -> None:
        assert local.spec_of_path(folder(tmp_path, config=config)).context == local.CONTEXT_LIMIT


def test_what_is_no_model(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ModelUnavailable, match="no model"):
            local.spec_of_path(path)


class TestDefaultSystem:
    def test_of_the_default_model(self) -> None:
        template = (GOLDEN / "chatml_template.jinja.txt").read_text("utf-8")
        expected = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
        assert local.default_system_of(template, chatml.CHATML) == expected

    @pytest.mark.parametrize(
        "template",
        [CHATML_TEMPLATE, "", "{{ 1 / 0 }}", "{{ x.y.z }}", "{% for", "{{ {}['a']['b'] }}", "{{ 'a'.index('b') }}", "{{ range(10 ** 9) }}",
         "{{ strftime_now('%d') }}", 
         "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ ''.__class__.__mro__ }}", "{{ messages.pop() }}"],
    )  # fmt: skip
    def test_none(self, template: str) -> None:
        assert local.default_system_of(template, chatml.CHATML) == ""
