"""The child process that turns pickled weights into safetensors: `python pickle_child.py FOLDER FILE…`.

Run by path, never imported. torch's restricted unpickler makes tensors and containers and refuses everything else, so nothing in the
files runs; that it happens in a process of its own keeps what a hole in that unpickler could reach small, and gives all memory
back. One JSON line a file on standard output, and one with `error` where it ends. Deletes nothing.
"""

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

MOST = 4  # times the file: tied weights are written twice, and a number that stands for a terabyte of itself is not written at all


def main() -> int:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    try:
        where: dict[str, str] = {}
        total = 0
        for name in names:
            made, tensors, size = convert(folder / name)
            total += size
            where.update(dict.fromkeys(tensors, made))
            say({"file": name, "made": made})
        if len(names) > 1:
            write(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
            say({"file": "", "made": "model.safetensors.index.json"})
    except ImportError as error:
        return fail(f"converting them needs the package {error.name}")
    except OSError as error:
        return fail(str(error.strerror or error))
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, AttributeError, LookupError, TypeError) as error:
        sys.stderr.write(f"{error}\n")  # torch's own words advise to run what is in the file: they are for the log only
        return fail(f"{name} holds more than tensors, or is broken")
    return 0


def convert(path: Path) -> tuple[str, list[str], int]:
    """The name of the new file, its tensors, and their bytes. What lies in the same memory is written once for each name."""
    import torch
    from safetensors.torch import save_file

    state = load(torch, path)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError("it is no table of tensors")
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if size > MOST * path.stat().st_size:
        raise ValueError(f"its tensors have {size:,} bytes")
    tensors, seen = {}, set()
    for key, tensor in state.items():
        memory = tensor.untyped_storage().data_ptr()
        tensors[str(key)] = tensor.clone().contiguous() if memory in seen else tensor.contiguous()
        seen.add(memory)
    made = path.with_name(path.name.replace("pytorch_model", "model", 1)).with_suffix(".safetensors")
    part = made.with_name(f".{made.name}.part")
    save_file(tensors, part, metadata={"format": "pt"})
    os.replace(part, made)
    return made.name, list(tensors), size


def load(torch: Any, path: Path) -> Any:
    """Mapped into memory where the format allows; files of before torch 1.6 are read whole."""
    import zipfile

    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def write(path: Path, value: object) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value), "utf-8")
    os.replace(part, path)


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def fail(cause: str) -> int:
    say({"error": cause})
    return 1


if __name__ == "__main__":
    sys.exit(main())
