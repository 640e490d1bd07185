"""Time to the first token at turn 8 about one picture, with the KV cache of the turns before it and without, asked alternately.

    python -m bench.vision_reuse [--runs N] [--threads N] [--folder DIR …]

Without: the same conversation but for its first word, so that the picture is encoded and all turns are read again. The target is
0.15. Without `--folder`, two models with random weights are made, each with the pictures of a release but fewer and narrower layers,
so that a processor is done in time: InternLM-XComposer2-VL (490 pixels, 1,225 positions) and SmolVLM-256M (512 pixels a tile, 64
positions each, 13 tiles here). How wide and deep they are decides the ratio much less than how long the prompts are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPVisionConfig, PreTrainedTokenizerFast, SmolVLMConfig, SmolVLMForConditionalGeneration

from bench.reuse import QUESTION, TURNS, answer, begun, measure
from bench.stop import machine, opened
from models import local
from models.architectures.plora import KINDS
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM, XComposer2Config
from models.backends import transformers_local
from shared.chatml import CHATML, IDEFICS3_PICTURE, XCOMPOSER2
from shared.engine import Engine
from shared.messages import Image, Message, Text, assistant, user

PICTURE = (1024, 768)  # pixels
TEMPLATE = (
    "{% for m in messages %}START{{ m.role }}\n{% for part in m.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}"
    "{% endif %}{% endfor %}END\n{% endfor %}{% if add_generation_prompt %}STARTassistant\n{% endif %}"
).replace("START", CHATML.start).replace("END", CHATML.end)  # fmt: skip
DECODER: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
TOWER: dict[str, Any] = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "num_hidden_layers": 6}
LAYERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: as many as it takes by itself")
    parser.add_argument("--folder", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"{machine()}, {torch.get_num_threads()} torch threads")
    print(f"{'model':<20}{'prompt':>8}{'cached':>8}{'with, s':>10}{'without, s':>12}{'ratio':>8}   (medians of {arguments.runs})")
    with tempfile.TemporaryDirectory() as made:
        image = picture(Path(made) / "picture.png")
        for folder in arguments.folder or (xcomposer2(Path(made) / "xcomposer2"), smolvlm(Path(made) / "smolvlm")):
            engine = opened(local.spec_of_path(folder), folder, transformers_local)
            try:
                measure(folder.name, engine, arguments.runs, lambda engine, word: talked(engine, image, word))
            finally:
                engine.close()


def talked(engine: Engine, image: Image, first_word: str) -> list[Message]:
    """A conversation that was really had: the picture with the first question, seven of the model's own answers, the eighth question."""
    messages = [begun(first_word), Message("user", (image, Text(QUESTION.format(n=1))))]
    for n in range(2, TURNS + 1):
        messages += [assistant(answer(engine, messages)[0]), user(QUESTION.format(n=n))]
    return messages


def picture(path: Path) -> Image:
    """Something with detail in it; what it shows is the same to a random model."""
    cells = bytes(hashlib.shake_128(b"picture").digest(48 * 36 * 3))
    PIL.Image.frombytes("RGB", (48, 36), cells).resize(PICTURE, PIL.Image.Resampling.BICUBIC).save(path)
    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), *PICTURE)


def xcomposer2(folder: Path, side: int = 490) -> Path:
    """With pictures of `side` by `side` pixels."""
    tokenizer = tokenizer_with("<s>", "</s>", XCOMPOSER2.end, XCOMPOSER2.start)
    tokenizer.bos_token = "<s>"
    tower = CLIPVisionConfig(image_size=side, patch_size=14, **TOWER)
    config = XComposer2Config(
        vocab_size=len(tokenizer), num_hidden_layers=LAYERS, max_position_embeddings=8192, attention_bias=False, bos_token_id=1,
        eos_token_id=2, rope_parameters={"rope_type": "default", "rope_theta": 1e6}, vision_config=tower.to_dict(), img_size=side,
        projector_sizes=(TOWER["hidden_size"], DECODER["hidden_size"]), plora_rank=dict.fromkeys(KINDS, 32),
        plora_alpha=dict.fromkeys(KINDS, 32.0), architectures=["InternLMXComposer2ForCausalLM"], **DECODER,
    )  # fmt: skip
    return saved(InternLMXComposer2ForCausalLM(config), tokenizer, folder)


def smolvlm(folder: Path) -> Path:
    around, whole, part = IDEFICS3_PICTURE
    parts = (part.format(row=row, column=column) for row in range(1, 5) for column in range(1, 5))
    tokenizer = tokenizer_with(CHATML.start, CHATML.end, "<image>", around, whole, *parts)
    tokenizer.chat_template = TEMPLATE
    text = {"model_type": "llama", "vocab_size": len(tokenizer), "num_hidden_layers": LAYERS, "max_position_embeddings": 8192, **DECODER}
    config = SmolVLMConfig(
        text_config=text, vision_config={"image_size": 512, "patch_size": 16, **TOWER}, scale_factor=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), tie_word_embeddings=False,
    )  # fmt: skip
    saved(SmolVLMForConditionalGeneration(config), tokenizer, folder)
    sizes = {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "SmolVLMImageProcessor", **sizes}), "utf-8")
    return folder


def saved(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokenizer_with(*marks: str) -> PreTrainedTokenizerFast:
    """Bytes, and the words of the questions."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    lines = (QUESTION, begun("known").text, "user", "assistant", "system")
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=480, initial_alphabet=alphabet, show_progress=False))
    backend.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=next(mark for mark in marks if mark in (CHATML.end, XCOMPOSER2.end)))


if __name__ == "__main__":
    main()
