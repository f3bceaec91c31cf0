"""One step of a scenario: who makes it, and what comes of it."""

from tests.kernel.call_steps import CALLS
from tests.kernel.file_steps import FILES
from tests.kernel.memory import Died
from tests.kernel.results import Result, Step, fail, ok
from tests.kernel.world import World
from userevents.errors import Refused

_CONTROLLER = "ctl"


def run_step(world: World, step: Step) -> Result:
    """Do one step."""
    operation, name = step["op"], step.get("proc", _CONTROLLER)
    if operation == "kill":
        world.end(name)
        return ok()
    if operation not in FILES and (operation not in CALLS or name == _CONTROLLER):
        return {"ret": -1, "errno": "BADOP"}
    try:
        if operation in FILES:
            process = world.controller if name == _CONTROLLER else world.process(name)
            return FILES[operation](world, step, process.thread(step.get("thread")))
        return CALLS[operation](world.process(name), step)
    except Refused as refused:
        return fail(refused.errno or 0)
    except Died:
        world.end(name)
        return {"ret": -1, "errno": "DIED"}
