"""Trains a small InternLM-XComposer2 to answer easy-VQA's questions, and saves it as a folder that `launch.py --model` loads.

    python -m bench.easy_vqa_train OUT [--seeing EPOCHS] [--answering EPOCHS] [--threads N]

All of it is there and all of it learns: CLIP tower, projector, InternLM2 decoder, PLoRA, and a tokenizer of its own. First the tower
learns to tell shapes and colours, with two heads that are thrown away, then everything learns to answer. Only the part of the data
that is for training is looked at here; bench/easy_vqa.py asks about the rest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import sentencepiece
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from transformers import CLIPVisionConfig

from bench.easy_vqa_data import COLOURS, SHAPES, SIDE, Question, questions, what_is_seen
from bench.easy_vqa_lessons import NO_LOSS, Lessons, Pictures
from bench.stop import machine
from models.architectures import load_tokenizer
from models.architectures.plora import KINDS, NOTHING, PLoRALinear
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM, XComposer2Config
from models.prompts.tokenizer import ChatTokenizer
from shared.chatml import XCOMPOSER2

PATCH, HIDDEN, LAYERS, TOWER_LAYERS, RANK = 8, 128, 3, 4, 16
PICTURES = 32  # in a batch
WARM_UP, WEIGHT_DECAY, LARGEST_GRADIENT = 0.05, 0.05, 1.0
SEED = 5
LossOf = Callable[[Sequence[int], random.Random], tuple[Tensor, float]]  # of some pictures: the loss, and how much was right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeing", type=int, default=12)
    parser.add_argument("--answering", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than one waits for others on a busy machine")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    print(machine(), flush=True)
    asked = questions("train")
    arguments.out.mkdir(parents=True)
    write_tokenizer(arguments.out, asked)
    tokenizer = ChatTokenizer(load_tokenizer(arguments.out).backend_tokenizer)
    model = new_model(tokenizer.size)
    print(f"{sum(p.numel() for p in model.parameters()):,} weights, {tokenizer.size} tokens", flush=True)
    pictures = Pictures({question.picture for question in asked})
    learn_to_see(model, pictures, what_is_seen(asked), arguments.seeing)
    learn_to_answer(model, pictures, Lessons(asked, tokenizer, model), arguments.answering)
    model.to(torch.bfloat16).save_pretrained(arguments.out)
    print(f"saved: {sum(file.stat().st_size for file in arguments.out.iterdir()) / 1e6:.1f} MB in {arguments.out}")


def write_tokenizer(out: Path, asked: Sequence[Question]) -> None:
    """A SentencePiece model of the family's kind: BPE with bytes, and spare pieces for the marks."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=itertools.chain(("user", "assistant"), (word for q in asked for word in (q.text, q.answer))),
        model_prefix=str(out / "tokenizer"), vocab_size=480, hard_vocab_limit=False, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, pad_id=-1,
        user_defined_symbols=[XCOMPOSER2.end, XCOMPOSER2.start], minloglevel=2,
    )  # fmt: skip
    (out / "tokenizer.vocab").unlink()
    marks = {token: {"content": token, "special": True} for token in (XCOMPOSER2.end, XCOMPOSER2.start)}
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    named = {str(pieces.piece_to_id(token)): mark for token, mark in marks.items()}
    (out / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": named}, indent=2) + "\n", "utf-8")


def new_model(vocabulary: int) -> InternLMXComposer2ForCausalLM:
    ranks = dict.fromkeys(KINDS, RANK)
    tower = CLIPVisionConfig(
        hidden_size=HIDDEN, intermediate_size=3 * HIDDEN, num_hidden_layers=TOWER_LAYERS, num_attention_heads=4, image_size=SIDE,
        patch_size=PATCH,
    )  # fmt: skip
    config = XComposer2Config(
        vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=2 * HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, initializer_range=0.05, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        tie_word_embeddings=False, vision_config=tower.to_dict(), img_size=SIDE, projector_sizes=(HIDDEN, 2 * HIDDEN),
        plora_rank=ranks, plora_alpha={kind: float(rank) for kind, rank in ranks.items()}, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        architectures=["InternLMXComposer2ForCausalLM"],
    )  # fmt: skip
    return InternLMXComposer2ForCausalLM(config).train()


def learn_to_see(model: InternLMXComposer2ForCausalLM, pictures: Pictures, seen: dict[int, tuple[str, str]], epochs: int) -> None:
    heads = nn.ModuleList([nn.Linear(HIDDEN, len(SHAPES)), nn.Linear(HIDDEN, len(COLOURS))])
    known = {number: (SHAPES.index(shape), COLOURS.index(colour)) for number, (shape, colour) in seen.items()}

    def loss_of(numbers: Sequence[int], draw: random.Random) -> tuple[Tensor, float]:
        features = model.vit(pictures.moved(numbers, draw)).mean(dim=1)
        wanted = torch.tensor([known[number] for number in numbers])
        shapes, colours = (head(features) for head in heads)
        right = (shapes.argmax(-1) == wanted[:, 0]) & (colours.argmax(-1) == wanted[:, 1])
        return cross_entropy(shapes, wanted[:, 0]) + cross_entropy(colours, wanted[:, 1]), right.float().mean().item()

    learn("seeing", [*model.vit.parameters(), *heads.parameters()], sorted(known), loss_of, epochs, rate=1e-3)


def learn_to_answer(model: InternLMXComposer2ForCausalLM, pictures: Pictures, lessons: Lessons, epochs: int) -> None:
    """`right` counts tokens, of which every answer has two or more: what it says, and that it ends."""
    hooks = plora_for_batches(model, lessons.prefix)

    def loss_of(numbers: Sequence[int], draw: random.Random) -> tuple[Tensor, float]:
        batch = lessons.batch(numbers, draw)
        rows = model.encode_images(pictures.moved(numbers, draw))
        embeds, _ = model.embed(batch.ids, torch.cat([*rows]))
        hidden = model.model(embeds, NOTHING, batch.mask, batch.positions, None, False).last_hidden_state
        asked = batch.targets != NO_LOSS
        scores, wanted = model.output(hidden[asked]), batch.targets[asked]
        return cross_entropy(scores, wanted), (scores.argmax(-1) == wanted).float().mean().item()

    learn("answering", list(model.parameters()), lessons.pictures, loss_of, epochs, rate=1e-3)
    for hook in hooks:
        hook.remove()


def plora_for_batches(model: InternLMXComposer2ForCausalLM, prefix: Sequence[int]) -> list[torch.utils.hooks.RemovableHandle]:
    """PLoRA for many pictures at once, for training: the model adds it picture by picture in place, and each of these additions
    costs a copy of the whole gradient. All sequences of a batch have their picture at the same place."""
    first, end = prefix.index(-1), len(prefix)

    def add(layer: PLoRALinear, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        added = layer.Plora_B(layer.Plora_A(inputs[0][:, first:end])) * layer.scale
        return output + pad(added, (0, 0, first, output.shape[1] - end))

    return [layer.register_forward_hook(add) for layer in model.modules() if isinstance(layer, PLoRALinear)]


def learn(name: str, weights: Iterable[nn.Parameter], numbers: list[int], loss_of: LossOf, epochs: int, rate: float) -> None:
    """`epochs` times all pictures in a new order, one line each; the rate rises, then falls along a cosine."""
    weights, draw, began = list(weights), random.Random(SEED), time.monotonic()
    steps = epochs * (len(numbers) // PICTURES)
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step / max(1, steps)))
    for epoch in range(epochs):
        order, told = draw.sample(numbers, len(numbers)), []
        for start in range(0, len(order) - PICTURES + 1, PICTURES):
            loss, right = loss_of(order[start : start + PICTURES], draw)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            told.append((loss.item(), right))
        losses, rights = (sum(values) / len(told) for values in zip(*told, strict=True))
        print(f"{name} {epoch + 1:>3}: loss {losses:.3f}, right {rights:.3f}, {(time.monotonic() - began) / 60:.1f} min", flush=True)


def rate_at(done: float) -> float:
    """The part of the highest rate that is used when `done` of all steps are."""
    return done / WARM_UP if done < WARM_UP else 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))


if __name__ == "__main__":
    main()
