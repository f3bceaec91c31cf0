"""Which instance sees which program, and how: as it writes (`View`), or when it is asked (`FlightView`)."""

from collections.abc import Iterable, Iterator, Mapping

from ..errors import Malformed
from ..instance import Instance
from ..session import layout
from .flight import FlightView
from .native_view import NativeFlight
from .natives import Natives
from .program import TracedProgram
from .view import View
from .wish import RingWish

AnyView = View | FlightView


class Views:
    """The views of every program, by instance."""

    def __init__(self, ring_pages: int, natives: Natives) -> None:
        self.natives = natives
        self._ring_pages = ring_pages
        self._views: dict[TracedProgram, dict[Instance, AnyView]] = {}

    def __getitem__(self, program: TracedProgram) -> dict[Instance, AnyView]:
        return self._views[program]

    def __iter__(self) -> Iterator[tuple[TracedProgram, dict[Instance, AnyView]]]:
        return iter(self._views.items())

    def add(self, program: TracedProgram) -> None:
        """A program that nobody sees yet."""
        self._views[program] = {}

    def forget(self, program: TracedProgram) -> None:
        """The program is known no more."""
        del self._views[program]

    def forget_gone(self, instances: Iterable[Instance]) -> list[Instance]:
        """Take away the views of all instances but these, and return whose they were."""
        there = set(instances)
        gone = {instance for views in self._views.values() for instance in views} - there
        for views in self._views.values():
            for instance in gone & views.keys():
                del views[instance]
        return list(gone)

    def readers(self, program: TracedProgram) -> list[View]:
        """Return the views to which a program's records are handed out as they come."""
        return [view for view in self._views[program].values() if isinstance(view, View)]

    def flying_over(self, program: TracedProgram) -> list[FlightView]:
        """Return the views that ask for a program's records later."""
        return [view for view in self._views[program].values() if isinstance(view, FlightView)]

    def flying(self, instance: Instance) -> list[FlightView | NativeFlight]:
        """Return what a flight recording sees."""
        views = [views.get(instance) for views in self._views.values()]
        return [*(view for view in views if isinstance(view, FlightView)), *self.natives.flying(instance)]

    def flight_facts(self, instances: Iterable[Instance]) -> dict[str, object]:
        """Return what there is to tell of each flight recording, for JSON."""
        return {each.name: dict(_flight_facts(self.flying(each))) for each in instances if each.is_flight}

    def ring_wish(self, program: TracedProgram) -> RingWish:
        """Return what ring a program should have: large enough for each instance; one for flights keeps the newest."""
        instances = self._views[program]
        size = max((instance.buffer_size for instance in instances), default=0)
        pages = layout.pages_for(size) if size else self._ring_pages
        if any(instance.is_flight for instance in instances):
            return RingWish(pages, layout.MODE_OVERWRITE, may_grow=False)
        return RingWish(pages)


def _flight_facts(views: Iterable[FlightView | NativeFlight]) -> Mapping[str, int]:
    """Return what there is to tell of one flight recording."""
    total = {"programs": 0, "dead": 0, "held": 0, "committed": 0}
    for view in views:
        try:
            facts = view.facts()
        except (Malformed, OSError):
            continue
        total["programs"] += 1
        total["dead"] += not view.program.alive
        for name, value in facts.items():
            total[name] += value
    return total
