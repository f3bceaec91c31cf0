"""The screen of `userevents top`: two tables, a tail, a filter box. What it shows comes from `watching`."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from ..fields.escape import printable
from .watching import EventRow, ProcessRow, View, Watch

_INTERVAL_S: Final = 0.4
_EVENT_COLUMNS: Final = ("EVENT", "STATE", "HERE", "RATE/S", "TOTAL", "LOST", "PROGRAMS", "FIELDS")
_PROCESS_COLUMNS: Final = ("PID", "RATE/S", "TOTAL", "LOST", "ON", "PROGRAM")
_STYLES: Final = {"on": "green", "some": "yellow", "refused": "red", "off": ""}

Cells = tuple[Text, ...]


class Top(App[None]):
    """The screen. It asks its watch a few times a second, in a thread, and shows what that says."""

    TITLE = "userevents top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; padding: 0 1; }
    #filter { display: none; height: 3; }
    #filter.shown { display: block; }
    #tables { height: 1fr; min-height: 6; }
    #events { width: 3fr; }
    #processes { width: 2fr; border-left: solid $panel; }
    #tailing { height: 1; padding: 0 1; background: $panel; }
    #tail { height: 1fr; min-height: 4; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "switch", "switch event on/off", priority=False),
        Binding("r", "sort", "by rate/name"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "unfilter", "no filter", show=False),
        Binding("p", "pause", "pause"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._here: set[str] = set()
        self._by_rate = False
        self._paused = False
        self._looking = False
        self._view: View | None = None
        self._tailed: tuple[str, int, str] = ("", 0, "")
        self._event_keys: list[str] = []
        self._process_keys: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="head", markup=False)
        yield Input(placeholder="words in an event's name, Enter keeps, Esc clears", id="filter")
        with Horizontal(id="tables"):
            yield DataTable(id="events", cursor_type="row", zebra_stripes=True)
            yield DataTable(id="processes", cursor_type="none", zebra_stripes=True)
        yield Static(id="tailing", markup=False)
        yield RichLog(id="tail", markup=False, highlight=False, wrap=False, max_lines=1000)
        yield Footer()

    async def on_mount(self) -> None:
        """Begin to look."""
        self._events.add_columns(*_EVENT_COLUMNS)
        self.query_one("#processes", DataTable).add_columns(*_PROCESS_COLUMNS)
        self._events.focus()
        await self.look()
        self.set_interval(_INTERVAL_S, self.look)

    async def look(self) -> None:
        """Ask the watch, unless it is still thinking, and show what it says."""
        if self._looking:
            return
        self._looking = True
        try:
            self._view = await asyncio.to_thread(self._watch.look, frozenset(self._here))
        finally:
            self._looking = False
        if not self._paused:
            self.show()

    def show(self) -> None:
        """Show what is known."""
        view = self._view
        if view is None:
            return
        self.query_one("#head", Static).update(_head(view, self._paused))
        words = self.query_one("#filter", Input).value.lower().split()
        events = [row for row in view.events if all(word in row.name.lower() for word in words)]
        processes: Sequence[ProcessRow] = view.processes
        if self._by_rate:
            events.sort(key=lambda row: (-row.rate, row.name))
            processes = sorted(processes, key=lambda row: (-row.rate, row.pid))
        self._event_keys = _fill(self._events, self._event_keys, [(row.name, _event_cells(row)) for row in events])
        self._process_keys = _fill(
            self.query_one("#processes", DataTable),
            self._process_keys,
            [(str(row.pid), _process_cells(row)) for row in processes],
        )
        self._show_tail()

    def action_switch(self) -> None:
        """Switch the chosen event on here, or off."""
        chosen = self.chosen
        if chosen:
            self._here.symmetric_difference_update({chosen})
            self.run_worker(self.look(), exclusive=False)

    def action_sort(self) -> None:
        """Order by rate, or by name."""
        self._by_rate = not self._by_rate
        self.show()

    def action_pause(self) -> None:
        """Hold the screen still, or go on."""
        self._paused = not self._paused
        self.show()

    def action_filter(self) -> None:
        """Show the filter box."""
        box = self.query_one("#filter", Input)
        box.add_class("shown")
        box.focus()

    def action_unfilter(self) -> None:
        """Take the filter away."""
        box = self.query_one("#filter", Input)
        box.value = ""
        box.remove_class("shown")
        self._events.focus()
        self.show()

    def on_input_changed(self) -> None:
        """The filter holds while it is typed."""
        self.show()

    def on_input_submitted(self) -> None:
        """Back to the table; the filter stays."""
        self._events.focus()

    def on_data_table_row_highlighted(self) -> None:
        """Another event was chosen: its tail is shown."""
        self._show_tail()

    @property
    def chosen(self) -> str:
        """The name of the event under the cursor; empty if there is none."""
        row = self._events.cursor_row
        return self._event_keys[row] if 0 <= row < len(self._event_keys) else ""

    @property
    def _events(self) -> "DataTable[Text]":
        return self.query_one("#events", DataTable)

    def _show_tail(self) -> None:
        chosen, log = self.chosen, self.query_one("#tail", RichLog)
        lines = self._view.lines.get(chosen, ()) if self._view is not None else ()
        state = (chosen, len(lines), lines[-1] if lines else "")
        if state == self._tailed:
            return
        self._tailed = state
        if not chosen:
            told = "no live program declares an event"
        elif chosen in self._here:
            told = f"{printable(chosen)}: newest last"
        else:
            told = f"{printable(chosen)}: space switches it on here and shows what it says"
        self.query_one("#tailing", Static).update(told)
        log.clear()
        for line in lines:
            log.write(Text(line))


def _head(view: View, paused: bool) -> Text:
    """One line about everything, losses in red."""
    told = Text.assemble(
        f"{len(view.processes):,} programs  {len(view.events):,} events  {view.rate:,.0f}/s  {view.attempts:,} in all  "
    )
    told.append(f"{view.lost:,} lost", "bold red" if view.lost else "green")
    if view.overwritten:
        told.append(f"  {view.overwritten:,} came too fast to be shown", "bold red")
    if paused:
        told.append("  PAUSED", "bold reverse")
    for problem in view.problems:
        told.append(f"\n{printable(problem)}", "yellow")
    return told


def _event_cells(row: EventRow) -> Cells:
    return (
        Text(printable(row.name)),
        Text(row.state, _STYLES.get(row.state, "")),
        Text("on" if row.here else "", "bold green"),
        Text(f"{row.rate:,.0f}" if row.rate else "", justify="right"),
        Text(f"{row.attempts:,}", justify="right"),
        Text(f"{row.lost:,}" if row.lost else "", "bold red", justify="right"),
        Text(str(row.programs), justify="right"),
        Text(printable(row.fields)),
    )


def _process_cells(row: ProcessRow) -> Cells:
    return (
        Text(str(row.pid), justify="right"),
        Text(f"{row.rate:,.0f}" if row.rate else "", justify="right"),
        Text(f"{row.attempts:,}", justify="right"),
        Text(f"{row.lost:,}" if row.lost else "", "bold red", justify="right"),
        Text(f"{row.on}/{row.events}", justify="right"),
        Text(printable(row.program)),
    )


def _fill(table: "DataTable[Text]", known: list[str], rows: list[tuple[str, Cells]]) -> list[str]:
    """Put rows into a table, changing no more than has changed; the cursor stays with its row. Returns the keys."""
    keys = [key for key, _ in rows]
    if keys != known:
        chosen = known[table.cursor_row] if 0 <= table.cursor_row < len(known) else ""
        table.clear()
        for key, cells in rows:
            table.add_row(*cells, key=key)
        if chosen in keys:
            table.move_cursor(row=keys.index(chosen))
        return keys
    for place, (_, cells) in enumerate(rows):
        for column, cell in enumerate(cells):
            at = Coordinate(place, column)
            if table.get_cell_at(at) != cell:
                table.update_cell_at(at, cell, update_width=True)
    return keys
