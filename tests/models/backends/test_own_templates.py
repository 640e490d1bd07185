"""From picture files to a streamed answer, with chat templates of the kind that the families come with: what `generate` writes.

The models are tiny and random; what prepares the pictures, writes the prompt and generates on the other side is transformers'.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from transformers import AutoImageProcessor, PreTrainedTokenizerFast
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from models import local
from models.architectures import load_model, load_tokenizer
from models.backends import transformers_local
from models.backends.transformers_local import TransformersLocal
from shared.engine import Cancel, Sampling
from shared.events import Done, TextDelta
from shared.messages import Image, Message, Text, assistant, system
from tests.seeing_models import IMAGE_TOKEN, PROCESSORS, image_of, native_folder, picture

torch.set_num_threads(1)
GREEDY = Sampling(temperature=0, max_tokens=12)
END = "<end_of_utterance>"
TEMPLATES = {
    "internvl": (  # ChatML, a line for each picture
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
        "{% for part in m['content'] %}{% if part['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}{% elif part['type'] == 'text' %}"
        "{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "smolvlm": (  # a blank behind the name unless a picture comes first, and an end of its own
        "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}{{ ':' if m['content'][0]['type'] == 'image' else ': ' }}"
        "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] == 'image' %}{{ '<image>' }}"
        "{% endif %}{% endfor %}" + END + "\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    ),
    "llava": (  # the pictures of a message before its texts, answers marked for training
        "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() + ': ' }}{% endif %}"
        "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
        "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{% if m['role'] != 'assistant' %}{{ part['text'] + ' ' }}"
        "{% else %}{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
}
SPLITS: dict[str, dict[str, bool]] = {"smolvlm": {"return_row_col_info": True}, "internvl": {"crop_to_patches": True}, "llava": {}}
TILES = {"smolvlm": 1, "internvl": 0, "llava": 0}  # along which pictures lie side by side


def folder_of(path: Path, family: str, **processor: Any) -> Path:
    native_folder(path, family)
    (path / "chat_template.jinja").write_text(TEMPLATES[family], "utf-8")
    (path / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[family] | processor), "utf-8")
    return path


@pytest.fixture(scope="module", params=sorted(TEMPLATES))
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, TransformersLocal]]:
    folder = folder_of(tmp_path_factory.mktemp(request.param) / "model", request.param)
    spec = local.spec_of_path(folder)
    assert spec.dialect == "template" and "image" in spec.capabilities
    engine = transformers_local.load(spec, folder, on_progress=lambda progress: None, cancel=Cancel())
    yield request.param, folder, engine
    engine.close()


def asked(*parts: Image | str) -> Message:
    return Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def expanded(family: str, made: Any) -> str:
    """What transformers' processor for the family writes for one picture."""
    if family == "smolvlm":
        rows, columns = made["rows"][0][0], made["cols"][0][0]
        return str(get_image_prompt_string(rows, columns, 4, "<fake_token_around_image>", IMAGE_TOKEN[family], "<global-img>"))
    return f"<img>{IMAGE_TOKEN[family] * 4 * len(made['pixel_values'])}</img>" if family == "internvl" else IMAGE_TOKEN[family] * 16


def generated(family: str, folder: Path, messages: Sequence[Message]) -> tuple[list[int], PreTrainedTokenizerFast]:
    """The ids of prompt and greedy answer."""
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    images = [PIL.Image.open(part.path) for message in messages for part in message.parts if isinstance(part, Image)]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    each = [processor(images=[image], return_tensors="pt", **SPLITS[family]) for image in images]
    parts = tokenizer.apply_chat_template([wire(message) for message in messages], add_generation_prompt=True, tokenize=False)
    first, *rest = parts.split(IMAGE_TOKEN[family])
    text = first + "".join(expanded(family, made) + part for made, part in zip(each, rest, strict=True))
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    names = [name for name in ("pixel_values", "pixel_attention_mask") if name in each[0]]
    pixels = {name: torch.cat([made[name] for made in each], dim=TILES[family]) for name in names}
    with torch.inference_mode():
        written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels, max_new_tokens=12, do_sample=False)
    return [ids.shape[1], *written[0, ids.shape[1] :].tolist()], tokenizer


def wire(message: Message) -> dict[str, Any]:
    parts = [{"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"} for part in message.parts]
    return {"role": message.role, "content": parts}


def streamed(engine: TransformersLocal, messages: Sequence[Message]) -> str:
    return "".join(event.text for event in engine.stream(messages, GREEDY) if isinstance(event, TextDelta))


def check(opened: tuple[str, Path, TransformersLocal], messages: Sequence[Message]) -> Done:
    family, folder, engine = opened
    (tokens, *answer), tokenizer = generated(family, folder, messages)
    events = list(engine.stream(messages, GREEDY))
    assert isinstance(events[-1], Done) and events[-1].usage.prompt_tokens == tokens == engine.count(messages)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text.rstrip("\ufffd") == tokenizer.decode(answer, skip_special_tokens=True).rstrip("\ufffd")
    assert events[-1].usage.output_tokens == len(answer) - (events[-1].reason == "stop")
    return events[-1]


def test_a_conversation_with_pictures_in_several_turns(opened: tuple[str, Path, TransformersLocal], tmp_path: Path) -> None:
    """A picture, then a turn without one, then two between texts; a system text in front."""
    cat, dog, cow = (picture(tmp_path / f"{n}.png", seed=n, size=size) for n, size in enumerate([(70, 30), (20, 20), (33, 95)]))
    turns = [system("Be small."), asked(cat, "What is this?")]
    check(opened, turns)
    turns += [assistant("A test."), asked("Who made it?")]
    assert check(opened, turns).usage.cached_tokens > 16
    turns += [assistant("It is a model."), asked("Is ", dog, " like ", cow, "?")]
    assert check(opened, turns).usage.cached_tokens > 40


def test_a_photograph_as_the_camera_left_it(opened: tuple[str, Path, TransformersLocal], tmp_path: Path) -> None:
    """On its side in the file: it is seen as the same pixels upright in a file are."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    lying = picture(tmp_path / "lying.png", seed=3, size=(64, 32), exif=exif)
    upright = tmp_path / "upright.png"
    PIL.Image.open(lying.path).transpose(PIL.Image.Transpose.ROTATE_270).save(upright)
    engine = opened[2]
    assert streamed(engine, [asked(lying, "What?")]) == streamed(engine, [asked(image_of(upright), "What?")])
    check(opened, [asked(image_of(upright), "What?")])


@pytest.mark.parametrize(("family", "kind"), [
    ("internvl", "GotOcr2ImageProcessorFast"), ("smolvlm", "Idefics3ImageProcessor"), ("smolvlm", "SmolVLMImageProcessorFast"),
    ("llava", "CLIPImageProcessorFast"),
])  # fmt: skip
def test_the_names_that_published_folders_give_their_processors(tmp_path: Path, family: str, kind: str) -> None:
    """`Fast` ones want a package that is not needed here: the same processor prepares the picture without it."""
    folder = folder_of(tmp_path / "model", family, image_processor_type=kind)
    engine = transformers_local.load(local.spec_of_path(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    image = picture(tmp_path / "cat.png", seed=1, size=(70, 30))
    assert engine.count([asked(image, "What?")]) > engine.count([asked("What?")]) + 3
    assert list(engine.stream([asked(image, "What?")], GREEDY))
    engine.close()
