"""What `./dev kernel` makes of a kernel's answers, without asking one: masks, comparisons, and its refusals."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.replay import Scenario, scenarios
from tools.kernel import __main__ as command
from tools.kernel import image
from tools.kernel.normalise import masked
from tools.kernel.scenarios import compare

VECTORS = Path(__file__).parents[1] / "vectors" / "linux-6.12"
META: dict[str, Any] = {"names": {"4711": "p1"}, "first_multi": None, "leftovers": None}


def recorded(name: str) -> Scenario:
    """One recorded scenario."""
    return next(one for path in VECTORS.glob("*.jsonl") for one in scenarios(path) if one["name"] == name)


def as_seen(scenario: Scenario) -> Scenario:
    """A recorded scenario as the guest would have written it: numbers in place of masks, a lost name, need-resched."""
    text = json.dumps(scenario["results"]).replace("PPPPP", "4711 ").replace("  S.UUUUUU", "    12.345678")
    text = text.replace("     p1-4711", "  <...>-4711").replace("[000] .....", "[000] .N...")
    results = [dict(result) for result in json.loads(text)]
    for result in results:
        if result["ret"] == "len":
            result["ret"] = len(result["data"])
    return scenario | {"results": results, "meta": META}


def test_what_varies_is_masked_and_what_is_chance_is_mended() -> None:
    """A raw answer becomes what stands in the vectors."""
    scenario = recorded("trace/three_fields")
    raw = as_seen(scenario)
    assert raw["results"] != scenario["results"]
    assert "<...>-4711" in json.dumps(raw["results"])
    assert masked(raw)["results"] == scenario["results"]


def test_an_answer_as_recorded_differs_nowhere() -> None:
    """Neither from the recording nor from ours."""
    scenario = recorded("trace/three_fields")
    assert compare(scenario, as_seen(scenario)) == ("trace/three_fields", None, None)


def test_a_kernel_that_answers_otherwise_than_recorded_is_told_from_one_that_answers_otherwise_than_we() -> None:
    """An outdated recording alone leaves us equal to the kernel; a difference from us shows with or without one."""
    scenario = recorded("trace/three_fields")
    raw = as_seen(scenario)
    outdated = scenario | {"results": [scenario["results"][0] | {"ret": 5}, *scenario["results"][1:]]}
    _, ours, from_recording = compare(outdated, raw)
    assert ours is None
    assert from_recording is not None
    assert from_recording.number == 0
    other = raw | {"results": [*raw["results"][:3], raw["results"][3] | {"ret": 5}, *raw["results"][4:]]}
    for asked in (scenario, {"name": scenario["name"], "steps": scenario["steps"]}):
        _, ours, _ = compare(asked, other)
        assert ours is not None
        assert (ours.number, ours.expected["ret"]) == (3, 5)


def test_without_qemu_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2, and the message has a line to type."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert command.main(["ask", str(VECTORS / "status.jsonl")]) == 2
    said = capsys.readouterr().err
    assert "there is no qemu-system-x86_64" in said
    assert "apt-get install -y qemu-system-x86" in said


def test_a_cache_without_a_kernel_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was chosen by hand is not built, and not passed over."""
    tool = tmp_path / "qemu-system-x86_64"
    tool.write_text("#!/bin/sh\nexit 9\n", encoding="ascii")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("USEREVENTS_KERNEL_CACHE", str(tmp_path))
    assert command.main(["ask", str(VECTORS / "status.jsonl")]) == 2
    assert f"USEREVENTS_KERNEL_CACHE='{tmp_path}' holds no bzImage" in capsys.readouterr().err


def test_a_machine_that_does_not_start_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the log is named."""
    tool = tmp_path / "qemu-system-x86_64"
    tool.write_text("#!/bin/sh\necho no such machine\nexit 9\n", encoding="ascii")
    tool.chmod(0o755)
    for name in ("bzImage", "initramfs.cpio"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("USEREVENTS_KERNEL_CACHE", str(tmp_path))
    assert command.main(["ask", str(VECTORS / "status.jsonl")]) == 2
    said = capsys.readouterr().err
    assert "no such machine" in said
    assert "The whole log: " in said


@pytest.mark.parametrize("line", ["no json", "[]", '{"name": "x"}', '{"steps": []}', '{"name": "x", "steps": 1}'])
def test_a_file_that_holds_no_scenarios_is_refused_with_its_line(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is booted."""
    path = tmp_path / "bad.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    assert command.main(["ask", str(path)]) == 2
    assert f"'{path}', line 2: " in capsys.readouterr().err


def test_another_recipe_is_another_place_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an old kernel is never taken for the one that is described now."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = image.place()
    assert before.parent == tmp_path / "userevents"
    changed = tmp_path / "fragment"
    changed.write_text(f"{image.FRAGMENT.read_text(encoding='ascii')}CONFIG_DEBUG_KERNEL=y\n", encoding="ascii")
    monkeypatch.setattr(image, "FRAGMENT", changed)
    assert image.place() != before
