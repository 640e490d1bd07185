"""What a child process does not learn."""

from __future__ import annotations

from models.environment import without_secrets


def test_accounts_stay_here() -> None:
    secret = {"HF_TOKEN": "1", "OPENAI_API_KEY": "2", "my_secret": "3", "DATABASE_PASSWORD": "4", "PUYU_AUTH": "me:5"}
    plain = {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", "PYTHONPATH": "/work", "CUDA_VISIBLE_DEVICES": "0"}
    assert without_secrets({**secret, **plain}) == plain
