"""Which projector belongs to which model, by the names that publishers give them, and what a projector's header says."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import local, projectors
from models.memory import footprint
from shared.engine import ModelSpec, Source
from shared.errors import ModelUnavailable
from tests.gguf_file import METADATA, gguf

CLIP = {"general.architecture": "clip", "clip.has_vision_encoder": True, "clip.projector_type": "idefics3", "clip.vision.image_size": 512}


def put(folder: Path, *names: str) -> Path:
    """The first of the files, which only have headers."""
    for name in names:
        (folder / name).write_bytes(gguf(CLIP if projectors.is_projector(name) else METADATA))
    return folder / names[0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["SmolVLM-256M-Instruct-Q8_0.gguf", "mmproj-SmolVLM-256M-Instruct-Q8_0.gguf"], "mmproj-SmolVLM-256M-Instruct-Q8_0.gguf"),
        (["Qwen2.5-VL-3B-Instruct-Q4_K_M.gguf", "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf"], "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf"),
        (["gemma-3-4b-it-Q4_K_M.gguf", "mmproj-model-f16.gguf"], "mmproj-model-f16.gguf"),
        (["gemma-3-4b-it-Q4_K_M.gguf", "gemma-3-4b-it-Q8_0.gguf", "mmproj-BF16.gguf"], "mmproj-BF16.gguf"),
        (["llava-v1.6.Q4_K_M.gguf", "llava-v1.6.mmproj-f16.gguf"], "llava-v1.6.mmproj-f16.gguf"),
        (["a-vl-Q8_0.gguf", "mmproj-a-vl-F16.gguf", "mmproj-a-vl-Q8_0.gguf"], "mmproj-a-vl-Q8_0.gguf"),
        (["a-vl-00001-of-00002.gguf", "a-vl-00002-of-00002.gguf", "mmproj-a-vl.gguf"], "mmproj-a-vl.gguf"),
        (["Qwen2.5-3B-Instruct-Q4_K_M.gguf", "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf"], ""),  # a text model beside somebody's
        (["text-Q4_0.gguf", "a-vl-Q4_0.gguf", "mmproj-a-vl-f16.gguf"], ""),
        (["text-Q4_0.gguf", "other-Q4_0.gguf", "mmproj-model-f16.gguf"], ""),  # of which of them?
        (["alone.gguf"], ""),
    ],
)
def test_by_their_names(tmp_path: Path, names: list[str], expected: str) -> None:
    model = put(tmp_path, *names)
    found = projectors.beside(model)
    assert (found.name if found else "") == expected
    assert ("image" in local.spec_of_path(model).capabilities) == bool(expected)


def test_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert projectors.beside(tmp_path / "nowhere" / "model.gguf") is None


def test_what_a_header_says(tmp_path: Path) -> None:
    assert projectors.read(put(tmp_path, "mmproj-a.gguf")) == projectors.Projector("idefics3", 512)
    (tmp_path / "deaf.gguf").write_bytes(gguf({**CLIP, "clip.has_vision_encoder": False}))
    with pytest.raises(ModelUnavailable, match=r"deaf\.gguf is no projector for pictures"):
        projectors.read(tmp_path / "deaf.gguf")
    with pytest.raises(ModelUnavailable, match="a model of its own"):
        projectors.read(put(tmp_path, "model.gguf"))


@pytest.mark.parametrize("tile", [-1, 1 << 40, "wide", 0])
def test_a_hostile_tile_is_none(tmp_path: Path, tile: object) -> None:
    (tmp_path / "p.gguf").write_bytes(gguf({**CLIP, "clip.vision.image_size": tile}))
    assert projectors.read(tmp_path / "p.gguf").tile == 0


class TestNamedByASource:
    def spec(self, *files: str, image: bool = True) -> ModelSpec:
        capabilities = frozenset({"text", "image"} if image else {"text"})
        return ModelSpec("m", "llama_cpp", (Source("hf", "a/m", files=files),), capabilities=capabilities)  # type: ignore[arg-type]

    @pytest.mark.parametrize("files", [("vl.gguf", "mmproj-other.gguf"), ("mmproj-other.gguf", "vl.gguf")])
    def test_by_whatever_path_the_store_gives(self, tmp_path: Path, files: tuple[str, str]) -> None:
        put(tmp_path, "vl.gguf", "mmproj-vl.gguf", "mmproj-other.gguf")
        both = (tmp_path / "vl.gguf", tmp_path / "mmproj-other.gguf")
        for path in (tmp_path, tmp_path / files[0]):  # a folder of the Hub's own cache, or the first of the files
            assert projectors.files_of(self.spec(*files), path) == both

    def test_without_pictures_it_is_left_alone(self, tmp_path: Path) -> None:
        put(tmp_path, "vl.gguf", "mmproj-vl.gguf")
        assert projectors.files_of(self.spec("vl.gguf", "mmproj-vl.gguf", image=False), tmp_path / "vl.gguf") == (
            tmp_path / "vl.gguf",
            None,
        )

    def test_one_that_is_gone(self, tmp_path: Path) -> None:
        put(tmp_path, "vl.gguf")
        assert projectors.files_of(self.spec("vl.gguf", "mmproj-vl.gguf"), tmp_path / "vl.gguf") == (tmp_path / "vl.gguf", None)

    def test_memory_has_room_for_it(self, tmp_path: Path) -> None:
        path = put(tmp_path, "vl.gguf", "mmproj-vl.gguf")
        seeing, blind = (footprint.need(self.spec("vl.gguf", "mmproj-vl.gguf", image=image), path) for image in (True, False))
        assert seeing.weights - blind.weights == (tmp_path / "mmproj-vl.gguf").stat().st_size
        assert seeing.working - blind.working >= footprint.PICTURES_WORKING
