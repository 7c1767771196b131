"""What a run's `log.txt` says: facts about the run, its alarms, and what happened to it."""

import dataclasses
import re
from collections.abc import Iterator, Sequence

# Lines that the page shows from the end of the log.
TAIL_LINES = 200
# Of a line, as one without an end may hold anything.
_MOST_LETTERS = 2000

_ALARM = re.compile(r"ALARM at (\d+(?:\.\d+)?) kimg: (.+)")
_ALARM_PART = re.compile(r"  (seen|means|try): +(.+)")
_OVER = re.compile(r"alarm over at (\d+(?:\.\d+)?) kimg: (.+)")
_PROGRESS = re.compile(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?) kimg  ")
_CONTINUED = re.compile(r"continuing at (\d+(?:\.\d+)?) kimg")
_STOPPED = re.compile(r"stopped .*the same command continues")
# The last line of Python's trace: `ValueError: ...`.
_ERROR = re.compile(r"[A-Za-z_][\w.]*(: .*)?")
_SETTING = re.compile(r"(?:^|, )([A-Za-z_][\w.]*)=")
# Facts that the last start of a run tells of itself.
_FACTS = {
    "devices": re.compile(r"devices: (.+)"),
    "data": re.compile(r"data: (.+)"),
    "G": re.compile(r"G \((.+ parameters) in "),
    "D": re.compile(r"D \((.+ parameters) in "),
}


@dataclasses.dataclass
class Alarm:
    """An alarm of `run/health.py`, as the log has it; `over_kimg` is None while it stands."""

    kimg: float
    title: str
    seen: str = ""
    means: str = ""
    advice: str = ""
    over_kimg: float | None = None


@dataclasses.dataclass
class Event:
    """Something that happened to a run.

    Attributes:
        kind: `start`, `resume`, `rollback`, `stop`, `killed`, `error`, `watchdog` or `note`.
        kimg: Where; None before the first image.
        text: In words.
    """

    kind: str
    kimg: float | None
    text: str


@dataclasses.dataclass
class Log:
    """What was found; every field is empty where there is no log.

    Attributes:
        facts: `devices`, `data`, `G` and `D` of the last start.
        overrides: Settings that the command line of the last start gave.
        alarms: In the order of the log.
        events: In the order of the log.
        tail: Its last lines.
        num_lines: Of the whole log.
    """

    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    alarms: list[Alarm] = dataclasses.field(default_factory=list)
    events: list[Event] = dataclasses.field(default_factory=list)
    tail: list[str] = dataclasses.field(default_factory=list)
    num_lines: int = 0


class _Reader:
    """Goes through the lines once, and remembers where the run stood."""

    def __init__(self):
        """Stands before the first line."""
        self.log = Log()
        self._kimg: float | None = None
        self._total_kimg = float("inf")
        # Whether a start has been followed by no end yet.
        self._is_open = False

    def read(self, lines: Sequence[str]) -> Log:
        """Returns what the lines say."""
        numbered = iter(lines)
        for line in numbered:
            self._read_facts(line)
            self._read_alarm(line)
            self._read_event(line)
            if line.startswith("Traceback (most recent call last)"):
                self._end("error", _last_of_trace(numbered))
        return self.log

    def _read_facts(self, line: str) -> None:
        """Looks for what a start tells; a later one replaces it."""
        if line.startswith("devices: "):
            self._begin()
        for name, pattern in _FACTS.items():
            if match := pattern.match(line):
                self.log.facts[name] = match[1].replace(")", "", 1) if name in "GD" else match[1]
        if line.startswith("settings: "):
            self.log.overrides = tuple(_SETTING.findall(line.removeprefix("settings: ")))

    def _begin(self) -> None:
        """Notes a start; one before it that told no end was killed."""
        is_done = self._kimg is not None and self._kimg >= self._total_kimg
        if self._is_open and not is_done:
            self._end("killed", "ended without a word: killed, or the machine was lost")
        self._is_open = True

    def _read_alarm(self, line: str) -> None:
        """Adds an alarm, a further line of the last one, or its end."""
        alarms = self.log.alarms
        if match := _ALARM.match(line):
            alarms.append(Alarm(float(match[1]), match[2]))
        elif (match := _ALARM_PART.match(line)) and alarms:
            setattr(alarms[-1], {"try": "advice"}.get(match[1], match[1]), match[2])
        elif match := _OVER.match(line):
            for alarm in reversed(alarms):
                if alarm.title == match[2] and alarm.over_kimg is None:
                    alarm.over_kimg = float(match[1])
                    break

    def _read_event(self, line: str) -> None:
        """Adds what happened, and follows the images."""
        if match := _PROGRESS.match(line):
            self._kimg, self._total_kimg = float(match[1]), float(match[2])
        elif match := _CONTINUED.match(line):
            self._kimg = float(match[1])
            self._add("resume", f"continued at {self._kimg:g} kimg")
        elif line.startswith("starting a new run"):
            self._add("start", "started")
        elif line.startswith("ROLLBACK: "):
            self._end("rollback", line.removeprefix("ROLLBACK: "))
        elif _STOPPED.match(line):
            self._end("stop", line)
        elif line.startswith("watchdog: "):
            self._add("watchdog", line.removeprefix("watchdog: "))
        elif line.startswith("NOTE: "):
            self._add("note", line.removeprefix("NOTE: "))

    def _add(self, kind: str, text: str) -> None:
        """Adds an event where the run stands."""
        self.log.events.append(Event(kind, self._kimg, text))

    def _end(self, kind: str, text: str) -> None:
        """Adds one that ends what the last start began."""
        self._add(kind, text)
        self._is_open = False


def read_log(text: str) -> Log:
    """Reads a `log.txt`, also while a run writes to it.

    Args:
        text: The whole file; what is no line of ours says nothing.

    Returns:
        What it says.
    """
    lines = [line[:_MOST_LETTERS] for line in text.splitlines()]
    log = _Reader().read(lines)
    log.tail = lines[-TAIL_LINES:]
    log.num_lines = len(lines)
    return log


def _last_of_trace(lines: Iterator[str]) -> str:
    """Returns the error that a trace ends with; takes its lines."""
    for line in lines:
        if line and not line.startswith(" ") and _ERROR.fullmatch(line):
            return line
    return "ended with an error"
