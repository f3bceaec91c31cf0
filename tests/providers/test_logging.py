"""The logging provider: what reaches the handlers is recorded, and logging works as if nobody looked."""

import subprocess
from typing import Any

import pytest

from tests.providers.conftest import Program


def messages(program: Program, code: str, *options: str) -> list[Any]:
    """Run `code` under the logging provider; return its records' messages."""
    program.run(*options, "-c", code, providers=("logging",))
    return [event["message"] for event in program.events("py_log")]


def test_a_record_tells_level_place_logger_and_message(program: Program) -> None:
    """As its LogRecord has them; the place is the program's, not ours."""
    script = program.write(
        "main.py",
        "import logging\nlogging.basicConfig(filename='log.txt')\ndef sell(what):\n"
        "    logging.getLogger('shop.till').error('sold %s for %d', what, 3)\nsell('tea')\n",
    )
    program.run(script, providers=("logging",))
    assert program.events("py_log") == [
        {
            "level": 40,
            "lineno": 4,
            "logger": "shop.till",
            "message": "sold tea for 3",
            "pathname": script,
            "function": "sell",
            "exception": "",
        }
    ]
    assert (program.directory / "log.txt").read_text() == "ERROR:shop.till:sold tea for 3\n"


def test_levels_filters_and_disabled_loggers_decide_as_before(program: Program) -> None:
    """What a logger drops is not recorded; what a filter changed is recorded as changed."""
    code = """
import logging
log = logging.getLogger("a")
log.addHandler(logging.NullHandler())
log.propagate = False
log.info("below the level")
log.setLevel(logging.INFO)
log.info("at the level")
def redact(record):
    if "drop" in record.msg: return False
    record.msg = record.msg.replace("secret", "***")
    return True
log.addFilter(redact)
log.info("a secret")
log.info("drop this")
log.disabled = True
log.critical("disabled")
log.disabled = False
logging.disable(logging.INFO)
log.info("disabled for all")
log.warning("still there")
"""
    assert messages(program, code) == ["at the level", "a ***", "still there"]


def test_a_record_that_no_handler_wants_is_recorded_all_the_same(program: Program) -> None:
    """The handlers' levels are theirs."""
    code = """
import logging
logging.getLogger().setLevel(logging.DEBUG)
handler = logging.StreamHandler()
handler.setLevel(logging.CRITICAL)
logging.getLogger().addHandler(handler)
logging.debug("quiet")
logging.getLogger("child").info("quiet child")
"""
    assert messages(program, code) == ["quiet", "quiet child"]


def test_no_handler_is_added_and_no_level_changed(program: Program) -> None:
    """logging.lastResort still serves who configured nothing, basicConfig still finds an empty root."""
    code = """
import logging
root = logging.getLogger()
print(root.handlers, root.level, logging.Logger.manager.loggerDict, logging.lastResort.level)
logging.basicConfig(format="%(message)s")
print(len(root.handlers))
"""
    bare = program.run("-c", code, providers=())
    assert program.run("-c", code, providers=("logging",)).stdout == bare.stdout


def test_logging_that_is_configured_later_is_still_recorded(program: Program) -> None:
    """logging.config replaces handlers and disables loggers; the provider depends on neither."""
    code = """
import logging, logging.config
before = logging.getLogger("before")
before.warning("first")
logging.config.dictConfig({"version": 1, "disable_existing_loggers": True,
    "handlers": {"null": {"class": "logging.NullHandler"}}, "root": {"handlers": ["null"], "level": "DEBUG"}})
before.warning("its logger was disabled")
logging.getLogger("after").debug("second")
"""
    done = program.run("-c", code, providers=("logging",), check=False)
    assert done.stderr == "first\n"
    assert [event["message"] for event in program.events("py_log")] == ["first", "second"]


def test_logger_classes_and_record_factories_of_the_program_are_recorded(program: Program) -> None:
    """Subclasses call up; records may have any shape."""
    code = """
import logging
logging.getLogger().addHandler(logging.NullHandler())
class Logger(logging.Logger):
    def handle(self, record):
        record.msg = "[mine] " + record.msg
        super().handle(record)
    def makeRecord(self, *args, **kwargs):
        record = super().makeRecord(*args, **kwargs)
        record.lineno, record.funcName, record.levelno = None, None, 10**12
        return record
logging.setLoggerClass(Logger)
logging.getLogger("x").warning("one")
logging.getLogger().handle(logging.makeLogRecord({"msg": "two", "levelno": 7}))
logging.LoggerAdapter(logging.getLogger("y"), {}).warning("three")
"""
    assert messages(program, code) == ["[mine] one", "two", "[mine] three"]
    one, two, _ = program.events("py_log")
    assert (one["level"], one["lineno"], one["function"]) == (2**31 - 1, 0, "")
    assert (two["level"], two["logger"]) == (7, "")


def test_arguments_that_do_not_fit_the_message_leave_it_unformatted(program: Program) -> None:
    """And the program's own handler complains as it always did."""
    code = """
import logging
class Bad:
    def __str__(self): raise ValueError("no text")
    def __repr__(self): return "bad"
logging.warning("%d items", "three")
logging.warning("it is %s", Bad())
logging.warning(Bad())
logging.warning(42)
"""
    bare = program.run("-c", code, providers=(), check=False)
    done = program.run("-c", code, providers=("logging",), check=False)
    assert done.stderr == bare.stderr
    assert done.stderr.count("--- Logging error ---") == 3
    assert [event["message"] for event in program.events("py_log")] == ["%d items", "it is %s", "<Bad>", "42"]


def test_text_that_logs_while_it_is_formatted_comes_to_an_end(program: Program) -> None:
    """Without a tracer nobody would format a record that no handler wants; with one, it must not recurse for ever."""
    code = """
import logging
logging.getLogger().setLevel(logging.DEBUG)
handler = logging.StreamHandler()
handler.setLevel(logging.CRITICAL)
logging.getLogger().addHandler(handler)
class Chatty:
    def __str__(self):
        logging.debug("asked for %s", self)
        return "chatty"
logging.debug("hello %s", Chatty())
"""
    assert messages(program, code) == ["asked for %s", "hello chatty"]


def test_a_huge_message_reaches_the_client_bounded(program: Program) -> None:
    """The client cuts it to what a record holds, and counts the cut; here it only must not cost megabytes."""
    code = "import logging; logging.getLogger().addHandler(logging.NullHandler()); logging.warning('x' * 10**7)"
    assert messages(program, code) == ["x" * (1 << 16)]


def test_an_exception_is_told_by_type_and_text(program: Program) -> None:
    """Of a record that carries one, whatever its text does."""
    code = """
import logging
logging.getLogger().addHandler(logging.NullHandler())
class Bad(Exception):
    def __str__(self): raise ValueError
for error in (KeyError("tea"), Bad(), OSError()):
    try: raise error
    except Exception: logging.getLogger("x").exception("failed")
logging.getLogger("x").warning("no exception", exc_info=True)
logging.getLogger("x").warning("odd", exc_info=(None, None, None))
"""
    assert len(messages(program, code)) == 5
    said = [event["exception"] for event in program.events("py_log")]
    assert said == ["KeyError: 'tea'", "Bad: <Bad whose str() failed>", "OSError", "", ""]


def test_a_program_that_does_not_import_logging_does_not_get_it(program: Program) -> None:
    """The finder that waits for the import is all it has; and it leaves when logging comes."""
    code = """
import sys
before = "logging" in sys.modules, [type(finder).__name__ for finder in sys.meta_path if not isinstance(finder, type)]
import logging
print(before, [type(finder).__name__ for finder in sys.meta_path if not isinstance(finder, type)])
print(logging.__spec__.loader is logging.__loader__, type(logging.__loader__).__name__)
"""
    done = program.run("-E", "-c", code, providers=())
    others = done.stdout.splitlines()[0].partition(") ")[2]
    done = program.run("-c", code, providers=("logging",))
    before, after = done.stdout.splitlines()[0].partition("]) ")[::2]
    assert before.startswith("(False, ['_Waiting'")
    assert after == others
    assert done.stdout.splitlines()[1] == "True SourceFileLoader"


def test_asking_for_loggings_spec_without_importing_it_changes_nothing(program: Program) -> None:
    """The finder goes on waiting, and the loader answers as the real one."""
    code = """
import importlib.util
spec = importlib.util.find_spec("logging")
assert spec.loader.is_package("logging") and "Logger" in spec.loader.get_source("logging")
import logging
logging.warning("later")
"""
    done = program.run("-c", code, providers=("logging",), check=False)
    assert done.stderr == "WARNING:root:later\n"
    assert [event["message"] for event in program.events("py_log")] == ["later"]


def test_a_module_called_logging_of_the_programs_own_is_left_alone(program: Program) -> None:
    """It is found and run as ever."""
    program.write("logging.py", "print('own', __name__, type(__loader__).__name__)")
    script = program.write("main.py", "import logging; print(logging.__file__)")
    done = program.run(script, providers=("logging",))
    assert done.stdout == f"own logging SourceFileLoader\n{program.directory}/logging.py\n"


def test_the_wrapped_method_looks_like_the_one_it_wraps(program: Program) -> None:
    """For who introspects it, and for who wraps it in turn."""
    code = """
import inspect, logging
method = logging.Logger.filter
print(method.__module__, method.__qualname__, method.__doc__ == method.__wrapped__.__doc__, inspect.signature(method))
calls = []
def patched(self, record, original=method):
    calls.append(record.msg)
    return original(self, record)
logging.Logger.filter = patched
logging.getLogger("x").warning("both")
print(calls)
"""
    done = program.run("-c", code, providers=("logging",), check=False)
    assert done.stdout == "logging Filterer.filter True (self, record)\n['both']\n"
    assert [event["message"] for event in program.events("py_log")] == ["both"]


@pytest.mark.parametrize("trouble", ["bool", "call", "off"])
def test_a_broken_client_does_not_reach_who_logs(program: Program, trouble: str) -> None:
    """The record goes to the handlers all the same."""
    code = "import logging; logging.warning('%s', 'said')"
    done = program.run("-c", code, providers=("logging",), env={"FAKE_TROUBLE": trouble}, check=False)
    assert (done.returncode, done.stderr) == (0, "WARNING:root:said\n")
    assert not program.log.exists()


def test_what_a_signal_handler_raises_reaches_who_logs(program: Program) -> None:
    """A time limit that strikes while a record is written ends the job."""
    code = """
import logging, signal
def expired(*_): raise TimeoutError("too long")
signal.signal(signal.SIGALRM, expired)
try: logging.warning("x")
except TimeoutError: print("ended")
"""
    env = {"FAKE_TROUBLE": "signal", "FAKE_EVENT": "py_log"}
    assert program.run("-c", code, providers=("logging",), env=env).stdout == "ended\n"


def test_logging_in_a_forked_child_is_recorded_there(program: Program) -> None:
    """With the child's own process number."""
    code = """
import logging, os
logging.getLogger().addHandler(logging.NullHandler())
log = logging.getLogger("x")
child = os.fork()
log.warning("child" if not child else "parent")
if child: os.wait(); print(child)
"""
    done: subprocess.CompletedProcess[str] = program.run("-c", code, providers=("logging",))
    who = dict(zip([event["message"] for event in program.events("py_log")], program.pids("py_log"), strict=True))
    assert set(who) == {"child", "parent"}
    assert who["child"] == int(done.stdout)


def test_a_filter_that_replaces_the_record_is_believed(program: Program) -> None:
    """From Python 3.12 on a filter may return another record; handlers get that one, and so does the event."""
    code = """
import logging, sys, types
other = logging.makeLogRecord({"msg": "replaced"})
class Logger:
    def filter(self, record): return {"a": True, "b": False, "c": other}[record.msg]
calls = []
logs = sys.modules["_userevents_injected.providers.logs"]
logs.watch(types.SimpleNamespace(Logger=Logger), lambda *values: calls.append(values[3]))
print([Logger().filter(logging.makeLogRecord({"msg": text})) in (True, other) for text in "abc"], calls)
"""
    done = program.run("-c", code, providers=("logging",))
    assert done.stdout == "[True, False, True] ['a', 'replaced']\n"
