"""Memory really returns: loaded, used and unloaded twenty times through the registry, in a process of its own.

The bounds stand beside what was measured: 2 cores, Linux, glibc, torch for the CPU. Not measured on a GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MB = 10**6
ROUNDS = 20

# Loads, asks and unloads `ROUNDS` times; after each round: memory of this process, threads, files, children.
SCRIPT = """
import json, sys
from pathlib import Path
import psutil
from models import local
from models.download import Store
from models.registry import Registry
from shared.engine import Sampling
from shared.messages import user

spec = local.spec_of_path(Path(sys.argv[1]))
registry = Registry([spec], files=Store(Path(sys.argv[2]), offline=True))
process = psutil.Process()

def figures():
    memory = process.memory_info()
    return {
        "rss": memory.rss, "threads": process.num_threads(), "files": process.num_fds(),
        "children": len(process.children(recursive=True)), "held": registry.held(), "loaded": registry.loaded(),
    }

rounds, loaded = [], 0
for _ in range(int(sys.argv[3])):
    with registry.lease(spec.id) as engine:
        for event in engine.stream([user("What is the capital of France?")], Sampling(temperature=0, max_tokens=4)):
            pass
        loaded = max(loaded, figures()["rss"])
        del engine
    assert registry.unload(spec.id)
    rounds.append(figures())
registry.close()
print(json.dumps({"loaded": loaded, "rounds": rounds}))
"""


def cycled(path: Path, tmp_path: Path) -> tuple[int, list[dict[str, Any]]]:
    command = [sys.executable, "-c", SCRIPT, str(path), str(tmp_path), str(ROUNDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    return result["loaded"], result["rounds"]


@pytest.fixture(scope="module")
def hundred_megabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama in bfloat16 with weights of 104 MB."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tiny_models import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=640, intermediate_size=2560, num_hidden_layers=8, num_attention_heads=10,
        num_key_value_heads=10, max_position_embeddings=1024, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("random") / "llama-104mb"
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_of_a_tiny_torch_model(tmp_path: Path) -> None:
    from tests.tiny_models import tiny_llama_folder

    _, rounds = cycled(tiny_llama_folder(tmp_path / "tiny"), tmp_path)
    _check(rounds, growth=8 * MB)  # measured 2 MB


def test_of_a_torch_model_of_a_hundred_megabytes(hundred_megabytes: Path, tmp_path: Path) -> None:
    size = (hundred_megabytes / "model.safetensors").stat().st_size
    assert size > 100 * MB
    loaded, rounds = cycled(hundred_megabytes, tmp_path)
    assert loaded - rounds[-1]["rss"] > 0.8 * size  # the figure does see weights, mapped ones too
    _check(rounds, growth=20 * MB)  # measured 3 MB


def test_of_a_gguf_model(default_gguf: Path, tmp_path: Path) -> None:
    _, rounds = cycled(default_gguf, tmp_path)
    _check(rounds, growth=12 * MB)  # measured 5 MB; each child takes 510
    assert all(figures["children"] == 0 for figures in rounds)


def _check(rounds: list[dict[str, Any]], *, growth: int) -> None:
    """From the third round on, when every library has been used, nothing grows by more than `growth` in all that follow."""
    assert len(rounds) == ROUNDS and all(figures["held"] == figures["loaded"] == {} for figures in rounds)
    settled = rounds[2]
    for figures in rounds[3:]:
        assert figures["rss"] - settled["rss"] < growth, [one["rss"] for one in rounds]
        assert figures["threads"] <= settled["threads"] and figures["files"] <= settled["files"], rounds
