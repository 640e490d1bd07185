"""The doctor: what it finds in surroundings made for it, and what it must never say."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demos import doctor, doctor_machine, doctor_network, doctor_packages
from demos.finding import Check, Finding, Surroundings
from shared import settings as settings_module
from shared.errors import ModelUnavailable
from shared.settings import Settings
from tests.demos.pty_session import PATIENCE, ROOT
from tests.servers import Served, Server

MODELS = json.dumps({"data": [{"id": "internlm2"}, {"id": "evil\x1b[2Jname"}]}).encode()


def settings(tmp_path: Path, **flags: object) -> Settings:
    return settings_module.read({"data_dir": str(tmp_path), **flags}, {})


def findings(check: Check, given: Settings, root: Path = ROOT, **environment: str) -> list[Finding]:
    return doctor.examine(given, environment, root=root, checks=[check])


def only(check: Check, given: Settings, root: Path = ROOT, **environment: str) -> Finding:
    (finding,) = findings(check, given, root, **environment)
    return finding


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: it is taken, but nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# As a whole


def test_checks_are_shown_in_order_and_one_that_breaks_hides_no_other(tmp_path: Path) -> None:
    def first(surroundings: Surroundings) -> Iterator[Finding]:
        yield Finding("first", "ok", "fine")

    def second(surroundings: Surroundings) -> Iterator[Finding]:
        raise ModelUnavailable("It broke.", "Mend it.")

    def third(surroundings: Surroundings) -> Iterator[Finding]:
        yield Finding("third", "warn", Path("/nonexistent/file").read_text("utf-8"))

    found = doctor.examine(settings(tmp_path), {}, checks=[first, second, third])
    assert [(finding.name, finding.status) for finding in found] == [("first", "ok"), ("second", "warn"), ("third", "warn")]
    assert (found[1].detail, found[1].remedy) == ("It broke.", "Mend it.")


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_only_a_failure_changes_the_exit_code(status: str, code: int) -> None:
    assert doctor.exit_code([Finding("a", "ok", ""), Finding("b", status, "")]) == code  # type: ignore[arg-type]


def test_every_complaint_of_this_machine_has_a_remedy(tmp_path: Path) -> None:
    found = doctor.examine(settings(tmp_path, offline=True), {})
    assert len({finding.name for finding in found}) >= 9
    assert [finding for finding in found if finding.status != "ok" and not finding.remedy] == []


def test_json_and_exit_code_of_the_command(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PUYU_", "HF_", "OPENAI_"))}
    command = [sys.executable, "launch.py", "doctor", "--json", "--offline", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, timeout=PATIENCE, check=False)
    found = json.loads(done.stdout)
    assert {"name", "status", "detail", "remedy"} == set(found[0])
    assert done.returncode == 1  # offline, and no model on disk
    assert [finding["name"] for finding in found if finding["status"] == "fail"] == ["model"]


def test_it_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    """`-I -S`: no site-packages, as in a Python that was just installed."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import launch; sys.exit(launch.main(sys.argv[1:]))"
    command = [sys.executable, "-I", "-S", "-c", code, "doctor", "--offline", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "pip install -r requirements-core.txt" in done.stdout


def test_secrets_are_never_printed(tmp_path: Path, closed_port: int) -> None:
    kinds = ("auth", "key", "token", "proxy", "index", "base")
    secret = {kind: f"pw-of-{kind}" for kind in kinds}
    nobody = f"127.0.0.1:{closed_port}"
    environment = {
        **os.environ,
        "HF_TOKEN": secret["token"],
        "OPENAI_API_KEY": secret["key"],
        "https_proxy": f"http://me:{secret['proxy']}@{nobody}",
        "no_proxy": "127.0.0.1",
        "PIP_INDEX_URL": f"http://me:{secret['index']}@{nobody}/simple",
        "HF_ENDPOINT": f"http://{nobody}",
    }
    base = f"http://me:{secret['base']}@127.0.0.1:{closed_port}/v1"
    for form in ([], ["--json"]):
        command = [
            sys.executable,
            "launch.py",
            "doctor",
            *form,
            "--auth",
            f"me:{secret['auth']}",
            "--api-base",
            base,
            "--data-dir",
            str(tmp_path),
        ]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert "https_proxy=http://********@" in done.stdout and "/v1/models" in done.stdout
        assert [name for name, value in secret.items() if value in done.stdout + done.stderr] == []


# Packages


def requirements(tmp_path: Path, core: str, full: str = "") -> dict[str, Finding]:
    (tmp_path / doctor_packages.CORE).write_text(core, "utf-8")
    (tmp_path / doctor_packages.FULL).write_text(full, "utf-8")
    return {finding.name: finding for finding in findings(doctor_packages.requirements, settings(tmp_path), tmp_path)}


def test_a_missing_core_package_is_a_failure_and_another_one_a_warning(tmp_path: Path) -> None:
    found = requirements(
        tmp_path, "pytest>=1  # here\nno-such-package-core\n", f"-r {doctor_packages.CORE}\nno-such-package-full==1\npytest\n"
    )
    assert [(name, finding.status) for name, finding in found.items()] == [
        ("pytest", "ok"), ("no-such-package-core", "fail"), ("no-such-package-full", "warn"),
    ]  # fmt: skip
    assert found["no-such-package-core"].remedy == "pip install -r requirements-core.txt"


def test_another_version_is_a_warning_that_says_which_is_wanted(tmp_path: Path) -> None:
    finding = requirements(tmp_path, "pytest<1\n")["pytest"]
    assert finding.status == "warn" and "<1 is wanted" in finding.detail


def test_requirements_for_another_system_are_not_asked_for(tmp_path: Path) -> None:
    assert requirements(tmp_path, 'no-such-package; sys_platform == "plan9"\n') == {}


def test_what_the_notes_stumbled_over_comes_with_its_reason(tmp_path: Path) -> None:
    finding = requirements(tmp_path, "", "cachetools==0.0.1\n")["cachetools"]
    assert finding.status == "warn" and "lagent" in finding.detail


def test_the_gpu_that_the_driver_has_and_torch_cannot_use() -> None:
    seen: dict[str, object] = {"cuda": None, "mps": False, "devices": []}
    (finding,) = doctor_packages._gpu("2.13.0+cpu", seen, ["NVIDIA A100, 81920 MiB, 570.1"])
    assert finding.status == "warn" and "without CUDA" in finding.detail and finding.remedy


def test_the_gpu_slice_that_torch_sees_is_what_counts() -> None:
    seen: dict[str, object] = {"cuda": "12.9", "mps": False, "devices": [["NVIDIA A100", 2 * 2**30, 8 * 2**30]]}
    (finding,) = doctor_packages._gpu("2.13.0", seen, ["NVIDIA A100, 81920 MiB, 570.1"])
    assert (finding.status, finding.detail) == ("ok", "NVIDIA A100: 2.0 of 8.0 GiB free (torch 2.13.0)")


# The model


def test_the_model_is_not_on_disk(tmp_path: Path) -> None:
    assert only(doctor_machine.model, settings(tmp_path)).status == "ok"
    finding = only(doctor_machine.model, settings(tmp_path, offline=True))
    assert finding.status == "fail" and finding.remedy.endswith("download smollm2-135m-instruct")


def test_the_model_is_on_disk(tmp_path: Path) -> None:
    landed = tmp_path / "models" / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    landed.parent.mkdir(parents=True)
    landed.write_bytes(b"GGUF")
    finding = only(doctor_machine.model, settings(tmp_path, offline=True))
    assert finding.status == "ok" and str(landed) in finding.detail


@pytest.mark.parametrize("flags", [{"model": "nonesuch"}, {"models": "/nonexistent.toml"}])
def test_a_broken_catalog_or_model_is_a_failure_with_its_reason(tmp_path: Path, flags: dict[str, str]) -> None:
    finding = only(doctor_machine.model, settings(tmp_path, **flags))
    assert finding.status == "fail" and next(iter(flags.values())) in finding.detail


def test_a_models_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = only(doctor_machine.disk, settings(tmp_path, models_dir=str(tmp_path / "file" / "models")))
    assert finding.status == "warn" and "--models-dir" in finding.remedy


def test_caches_are_counted(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "blob").write_bytes(b"x" * 2_500_000)
    finding = only(doctor_machine.caches, settings(tmp_path), HF_HUB_CACHE=str(tmp_path / "hub"), XDG_CACHE_HOME=str(tmp_path / "none"))
    assert "Hugging Face 2.5 MB" in finding.detail


# The network


def test_sources_are_not_asked_offline(tmp_path: Path) -> None:
    assert only(doctor_network.sources, settings(tmp_path, offline=True)).detail.startswith("not asked")


def test_the_endpoint_answers(tmp_path: Path) -> None:
    with Server({"/v1/models": Served(MODELS)}) as server:
        finding = only(doctor_network.endpoint, settings(tmp_path, api_base=f"{server.url}/v1/", api_key="sk-secret"))
        assert server.asked("/v1/models")[0].headers["authorization"] == "Bearer sk-secret"
    assert finding.status == "ok" and "internlm2, evilname" in finding.detail


def test_the_endpoint_has_not_the_model(tmp_path: Path) -> None:
    with Server({"/v1/models": Served(MODELS)}) as server:
        finding = only(doctor_network.endpoint, settings(tmp_path, api_base=f"{server.url}/v1", api_model="other"))
    assert finding.status == "warn" and "other" in finding.detail and "internlm2" in finding.detail


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (Served(failures=[401]), "another key"),
        (Served(failures=[500]), "answers 500"),
        (Served(b"<html>"), "not as an OpenAI-compatible server"),
        (Served(redirect="http://127.0.0.1:1/"), "answers 302"),
    ],
)
def test_the_endpoint_is_no_use(tmp_path: Path, served: Served, words: str) -> None:
    with Server({"/v1/models": served}) as server:
        finding = only(doctor_network.endpoint, settings(tmp_path, api_base=f"{server.url}/v1"))
    assert finding.status == "fail" and words in finding.detail and finding.remedy


def test_nobody_at_the_endpoint(tmp_path: Path, closed_port: int) -> None:
    finding = only(doctor_network.endpoint, settings(tmp_path, api_base=f"http://127.0.0.1:{closed_port}/v1"))
    assert finding.status == "fail" and "refused" in finding.detail
    assert only(doctor_network.endpoint, settings(tmp_path, api_base="localhost:8000")).detail.endswith("no web address")


def test_proxies(tmp_path: Path) -> None:
    given = settings(tmp_path)
    assert only(doctor_network.proxies, given).detail == "none"
    assert only(doctor_network.proxies, given, http_proxy="http://p:1", no_proxy="a,localhost").status == "ok"
    past = only(doctor_network.proxies, given, HTTPS_PROXY="http://p:1", no_proxy="a")
    assert past.status == "warn" and "no_proxy" in past.remedy


def test_ssh_prints_the_command_that_brings_the_page_here(tmp_path: Path) -> None:
    finding = only(doctor_network.ssh, settings(tmp_path, port=6006), SSH_CONNECTION="10.0.0.2 50000 192.0.2.7 33090")
    assert "ssh -CNg -L 6006:127.0.0.1:6006 " in finding.detail and finding.detail.endswith("@192.0.2.7 -p 33090")
    assert "not connected" in only(doctor_network.ssh, settings(tmp_path)).detail
