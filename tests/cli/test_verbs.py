"""The verbs that drive a tracer: info, register, unregister, enable, disable, set-filter, trigger, cat, write."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from tests.doors.conftest import Server
from tests.engine.world import ROOT
from userevents.cli import main
from userevents.cli.complete import complete_event, complete_path
from userevents.fields import format_text, parse_fields

MULTI = 2
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def server(runtime_dir: Path) -> Iterator[Server]:
    """A tracer that the command line finds: `tick u32 count` and `tock` are registered by pid 1."""
    running = Server(runtime_dir / "tracer.sock")
    try:
        declare(running, "tick u32 count")
        declare(running, "tock")
        yield running
    finally:
        running.stop()


def declare(server: Server, text: str, flags: int = 0) -> None:
    """Register an event in the server's one process."""
    server.loop.call(lambda: server.world.register(text, bit=len(server.world.mm.enablers), flags=flags))


def persist(server: Server, text: str) -> None:
    """Register a persistent event that nobody holds."""
    server.loop.call(lambda: server.world.group.dynamic_create(f"u:{text}", ROOT))


def run(*words: str, code: int = 0) -> Result:
    """Run a verb, which ends with `code`."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output
    return done


def objects(*words: str, code: int = 0) -> list[dict[str, Any]]:
    """What a verb tells in JSON."""
    return [json.loads(line) for line in run(*words, "--json", code=code).stdout.splitlines()]


def cat(path: str) -> str:
    """A file of the tree."""
    return run("cat", path).stdout


def test_enable_and_disable_switch_what_patterns_name(server: Server) -> None:
    """Each event once, in the instance that was meant; the result is what its file then reads."""
    assert run("enable", "t*", "tick").stderr.splitlines() == [
        "userevents: user_events:tick: enabled",
        "userevents: user_events:tock: enabled",
    ]
    assert cat("set_event") == "user_events:tock\nuser_events:tick\n"
    run("disable", "user_events:tock")
    assert cat("set_event") == "user_events:tick\n"
    server.loop.call(lambda: server.tree.mkdir("instances/night"))
    assert objects("enable", "--instance", "night", "tock") == [
        {"event": "user_events:tock", "instance": "night", "enabled": "1"}
    ]
    assert cat("set_event") == "user_events:tick\n"


def test_a_pattern_without_events_does_nothing_and_names_those_there_are(server: Server) -> None:
    """Also not to the events of the other patterns."""
    said = run("enable", "tick", "beat", code=1).stderr
    assert said == "userevents: no event matches 'beat'; there are: tick, tock\n"
    assert "did you mean 'tock'?" in run("enable", "tick", "tock2", code=1).stderr
    assert "there is no verb 'enabel'; did you mean 'enable'?" in run("enabel", code=2).stderr
    assert cat("set_event") == ""
    assert "none is registered now" in run("enable", "nowhere:*", code=1).stderr
    assert "there is no instance 'day'" in run("enable", "--instance", "day", "tick", code=1).stderr


def test_an_event_with_triggers_says_that_it_stays_attached(server: Server) -> None:
    """Its bit remains set, which a person would wonder about."""
    run("enable", "tick")
    run("trigger", "tick", "traceon")
    assert "disabled, but its triggers keep it attached" in run("disable", "tick").stderr


def test_an_event_that_goes_with_its_last_listener_is_disabled_all_the_same(server: Server) -> None:
    """Reading its file afterwards may find nothing."""
    run("enable", "tick")
    server.loop.call(server.world.leave)

    def turn() -> None:
        server.door.poke()
        server.world.group.run_work()

    server.loop.turn = turn
    assert objects("disable", "tick")[0]["enabled"] in (None, "0")


def test_a_filter_is_set_and_cleared(server: Server) -> None:
    """The file reads it back; 0 clears as --clear does."""
    assert "tick: filter count > 3" in run("set-filter", "tick", "count > 3").stderr
    assert cat("events/user_events/tick/filter") == "count > 3\n"
    assert objects("set-filter", "tick", "--clear")[0]["filter"] is None
    run("set-filter", "tick", "count > 4")
    assert "tick: no filter" in run("set-filter", "tick", "0").stderr
    for words in (("tick",), ("tick", "count > 3", "--clear")):
        assert "EXPRESSION or --clear" in run("set-filter", *words, code=2).stderr


def test_a_refused_filter_shows_the_error_log_with_its_caret(server: Server) -> None:
    """For the event that refused; the others of the pattern have it."""
    done = run("set-filter", "t*", "count > 3", code=1)
    assert "user_events:tick: filter count > 3\n" in done.stderr
    assert "user_events:tock: [EINVAL]" in done.stderr
    told = done.stderr.splitlines()
    assert told[-3].endswith("event filter parse error: error: Field not found")
    assert told[-2:] == ["      Command: count > 3", " " * 21 + "^"]
    (_, refused) = objects("set-filter", "t*", "count > 3", code=1)
    assert (refused["error"], refused["error_log"].count("\n")) == ("EINVAL", 3)


@pytest.mark.parametrize("verb", ["tail request", "hist request --key a", "fleet tail request"])
def test_what_is_no_filter_is_refused_before_anything_is_waited_for(runtime_dir: Path, verb: str) -> None:
    """Whatever the fields of the events are that may come: parentheses and quotes that do not match."""
    done = CliRunner().invoke(main, [*verb.split(), "--where", "(n > 5"])
    assert done.exit_code == 2
    assert "'--where': '(n > 5' is no filter: " in done.stderr


def test_a_refusal_without_an_entry_shows_no_older_one(server: Server) -> None:
    """An old entry of the log has nothing to do with it."""
    run("set-filter", "tick", "zz == 1", code=1)
    assert "Command" not in run("trigger", "tick", "nonsense", code=1).stderr


def test_a_trigger_is_set_removed_and_refused(server: Server) -> None:
    """Removing one that is not there is no error in the kernel, but is said."""
    (told,) = objects("trigger", "tick", "hist:keys=count")
    assert told["triggers"][0].startswith("hist:keys=count:vals=hitcount")
    assert "Couldn't find field" in run("trigger", "tick", "hist:keys=zz", code=1).stderr
    assert "[EEXIST]" in run("trigger", "tick", "hist:keys=count", code=1).stderr
    assert "trigger removed" in run("trigger", "tick", "hist:keys=count", "--remove").stderr
    assert "there is no such trigger" in run("trigger", "tick", "hist:keys=count", "--remove").stderr


@pytest.mark.parametrize(
    "words",
    [
        ("enable", "tick"),
        ("disable", "tick"),
        ("set-filter", "tick", "a == 1"),
        ("trigger", "tick", "traceon"),
        ("register", "tick"),
        ("unregister", "tick"),
        ("cat", "trace"),
        ("write", "tracing_on", "1"),
    ],
)
def test_without_a_tracer_the_ways_out_are_named(runtime_dir: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Start one, or name a mounted tree; one that is none is said to be none."""
    said = run(*words, code=1).stderr
    assert said.startswith("userevents: no tracer runs: start one ('userevents record'")
    assert "--tracefs /sys/kernel/tracing" in said
    assert "is no tracing file system" in run(words[0], "--tracefs", str(tmp_path), *words[1:], code=1).stderr


def test_info_tells_fields_holders_listeners_and_history(server: Server) -> None:
    """In words, and the same in JSON."""
    run("enable", "tick")
    run("set-filter", "tick", "count > 3")
    (told,) = objects("info", "tick")
    assert (told["event"], told["declaration"], told["id"]) == ("user_events:tick", "tick u32 count", 20)
    assert (told["gone"], told["persist"], told["multi_format"]) == (False, False, False)
    assert told["fields"] == [{"ctype": "u32", "name": "count", "size": 4, "offset": 8, "signed": False}]
    assert told["held_by"] == [
        {"kind": "file", "who": "pid 1"},
        {"kind": "enabler", "who": "pid 1 bit 0 of 0x1000"},
        {"kind": "ftrace", "who": "top instance"},
    ]
    assert told["listeners"] == [
        {"instance": "top instance", "enabled": "1", "filter": "count > 3", "filter_error": "", "triggers": []}
    ]
    assert [entry["what"] for entry in told["history"]] == ["registered", "enabled", "filter set"]
    said = run("info", "tick").stdout
    for line in (
        "     8     4  u32   count",
        "enabler  pid 1 bit 0 of 0x1000",
        "top instance: enabled; filter count > 3",
    ):
        assert line in said
    assert "no: it goes when nobody holds it" in said


def test_info_tells_a_refused_filter_from_one_in_force(server: Server) -> None:
    """The kernel's file shows the text of both."""
    run("set-filter", "tick", "zz == 1", code=1)
    assert "no filter ('zz == 1' was refused: Field not found)" in run("info", "tick").stdout


def test_info_of_an_event_that_is_gone_says_when_it_went(server: Server) -> None:
    """With what it was and what happened to it, and exit code 1: it does not exist."""
    server.loop.call(server.world.leave)
    server.loop.call(server.world.group.run_work)
    said = run("info", "tick", code=1).stdout
    assert said.startswith("user_events:tick was destroyed ")
    assert "tick u32 count" in said
    assert "last put: its destroy is queued" in said
    (told,) = objects("info", "tick", code=1)
    assert (told["gone"], told["history"][-1]["what"]) == (True, "destroyed")
    persist(server, "tick u8 again")
    assert [(told["id"], told["persist"]) for told in objects("info", "tick")] == [(20, True)]
    assert "no event matches 'never'" in run("info", "never", code=1).stderr


def test_info_shows_no_control_characters_of_a_holder(server: Server) -> None:
    """A process may call itself anything."""
    world = server.world
    server.loop.call(lambda: world.register("evil", 9, file=world.group.open_file("\x1b[2Jx\n  self persistent")))
    said = run("info", "evil").stdout
    assert "\x1b" not in said
    assert "[2Jx" in said
    assert "persists      no" in said


def test_register_persist_makes_an_event_that_stays(server: Server) -> None:
    """For root; anybody else is told what it takes."""
    if not IS_ROOT:
        assert "needs CAP_PERFMON" in run("register", "mine u8 a", "--persist", code=1).stderr
        return
    assert objects("register", "mine u8 a; u16 b", "--persist") == [
        {"event": "user_events:mine", "id": 22, "persist": True, "held_by_pid": None}
    ]
    assert "u:mine u8 a; u16 b\n" in cat("dynamic_events")
    assert "until 'userevents unregister mine'" in run("register", "mine u8 a; u16 b", "--persist").stderr
    assert "user_events:mine" in run("info", "mine").stdout


@pytest.mark.skipif(not IS_ROOT, reason="only root may register persistent events")
def test_an_event_that_was_there_before_is_said_not_to_persist(server: Server) -> None:
    """dynamic_events succeeds and changes nothing: the first registration decides."""
    assert "stays so: it goes when nobody holds it" in run("register", "tick u32 count", "--persist").stderr


@pytest.mark.skipif(not IS_ROOT, reason="only root may register persistent events")
def test_a_name_that_is_taken_shows_the_fields_that_differ(server: Server) -> None:
    """EADDRINUSE of the second kind, in the tracer's words."""
    said = run("register", "tick u32 count; u8 more", "--persist", code=1).stderr
    assert "[EADDRINUSE]" in said
    assert "registered no further field, declared 'u8 more'" in said


def test_unregister_deletes_a_persistent_event_that_nobody_uses(server: Server) -> None:
    """By its name alone: the fields that dynamic_events wants are looked up."""
    persist(server, "mine u8 a; char[20] b")
    if not IS_ROOT:
        assert "needs CAP_PERFMON" in run("unregister", "mine", code=1).stderr
        return
    assert run("unregister", "mine").stderr == "userevents: mine: deleted\n"
    assert "mine" not in cat("dynamic_events")
    said = run("unregister", "mine", code=1).stderr
    assert "[ENOENT] no event is registered as 'mine'" in said
    assert "was destroyed 0.0 s ago" in said
    assert "ENOENT" in run("unregister", "never", code=1).stderr


def test_unregister_lists_who_holds_an_event_that_is_busy(server: Server) -> None:
    """EBUSY alone would leave one searching."""
    run("enable", "tick")
    told = run("unregister", "tick", code=1).stderr.splitlines()
    assert told[0].startswith("userevents: [EBUSY] event 'tick' is held; one that does not persist goes by itself")
    assert told[1:] == ["    file     pid 1", "    enabler  pid 1 bit 0 of 0x1000", "    ftrace   top instance"]


@pytest.mark.skipif(not IS_ROOT, reason="only root may delete persistent events")
def test_one_layout_of_several_is_deleted_by_its_fields(server: Server) -> None:
    """The name alone means all of them."""
    for text in ("many u8 a", "many u16 a", "many u32 a"):
        declare(server, text, flags=MULTI | 1)
    server.loop.call(server.world.leave)
    run("unregister", "many u16 a")
    assert [line for line in cat("dynamic_events").splitlines() if "many" in line] == ["u:many u8 a", "u:many u32 a"]
    run("unregister", "many")
    assert "many" not in cat("dynamic_events")


def test_cat_shows_files_and_the_names_in_a_directory(server: Server) -> None:
    """Several, one after the other; one that is not there is exit code 1."""
    assert run("cat", "events/user_events/tick/id", "/tracing_on").stdout == "20\n1\n"
    assert "tick\ntock\n" in cat("events/user_events")
    assert "[ENOENT]" in run("cat", "nope", code=1).stderr


def test_write_writes_and_truncates_when_asked_to(server: Server) -> None:
    """Truncating does something of its own: here it disables every event."""
    run("write", "tracing_on", "0")
    assert cat("tracing_on") == "0\n"
    run("write", "set_event", "user_events:tick")
    run("write", "set_event", "user_events:tock")
    assert len(cat("set_event").splitlines()) == 2
    run("write", "--truncate", "set_event", "user_events:tick")
    assert cat("set_event") == "user_events:tick\n"
    assert "[EINVAL]" in run("write", "tracing_on", "maybe", code=1).stderr


def test_names_of_events_and_files_are_completed(server: Server) -> None:
    """Of the tracer that runs; without one there are none, and no error."""
    shell = ShellComplete(main, {}, "userevents", "_USEREVENTS_COMPLETE")
    for verb in ("enable", "disable", "info", "unregister", "set-filter", "trigger"):
        assert [item.value for item in shell.get_completions([verb], "ti")] == ["tick"], verb
    assert [item.value for item in shell.get_completions(["cat"], "events/user_events/t")] == [
        "events/user_events/tick",
        "events/user_events/tock",
    ]


def test_without_a_tracer_nothing_is_completed(runtime_dir: Path) -> None:
    """Completion says nothing rather than something wrong."""
    context = main.make_context("userevents", ["list"])
    parameter = main.params[0]
    assert complete_event(context, parameter, "") == complete_path(context, parameter, "") == []


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A tracing file system as ordinary files: one event of a kernel's, one of a program's."""
    for system, name in (("sched", "sched_switch"), ("user_events", "tick")):
        place = tmp_path / "events" / system / name
        place.mkdir(parents=True)
        texts = {
            "enable": "0\n",
            "filter": "none\n",
            "trigger": "# Available triggers:\n",
            "id": "1712\n",
            "format": format_text(name, 1712, parse_fields("u8 a")),
        }
        for file, text in texts.items():
            (place / file).write_text(text)
    (tmp_path / "available_events").write_text("user_events:tick\nsched:sched_switch\n")
    (tmp_path / "user_events_status").write_text("tick # Used by perf\n\nActive: 1\nBusy: 1\n")
    (tmp_path / "error_log").write_text("")
    (tmp_path / "dynamic_events").write_text("u:tick u8 a\n")
    (tmp_path / "instances").mkdir()
    return tmp_path


def test_a_mounted_tree_is_driven_by_the_same_verbs(mounted: Path) -> None:
    """A star means user events alone; a system that is named, its events."""
    where = ("--tracefs", str(mounted))
    assert "user_events:tick: enabled" in run("enable", *where, "*").stderr
    assert run("cat", *where, "events/sched").stdout == "sched_switch\n"
    assert (mounted / "events/user_events/tick/enable").read_text() == "1\n"
    assert (mounted / "events/sched/sched_switch/enable").read_text() == "0\n"
    run("enable", *where, "sched:*")
    assert (mounted / "events/sched/sched_switch/enable").read_text() == "1\n"
    run("trigger", *where, "tick", "traceon")
    assert (mounted / "events/user_events/tick/trigger").read_text().startswith("traceon")


def test_info_of_a_kernels_event_leaves_out_what_a_kernel_does_not_tell(mounted: Path) -> None:
    """No holders, no history, no programs: null in JSON, nothing in words."""
    (told,) = objects("info", "--tracefs", str(mounted), "tick")
    assert (told["declaration"], told["id"]) == ("tick u8 a", 1712)
    assert [told[name] for name in ("persist", "held_by", "programs", "history")] == [None] * 4
    assert "held by" not in run("info", "--tracefs", str(mounted), "tick").stdout


def test_a_kernel_without_user_events_cannot_register(mounted: Path) -> None:
    """It says so, and not just ENOENT."""
    for words in (("register", "new u8 a"), ("unregister", "tick")):
        assert "this kernel has no user_events" in run(words[0], "--tracefs", str(mounted), words[1], code=1).stderr
