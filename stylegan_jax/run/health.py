"""The watch over a run: raises alarms once, and tells when the run has diverged.

It looks at the means that are logged anyway, so it costs the devices nothing.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from stylegan_jax.run.alarms import RULES, SCORE_RULE, Rule, Seen, worse_score
from stylegan_jax.training.schedules import Level

# Medians are taken over so many ticks, and not before there are a few: first ticks are wild.
WINDOW_TICKS = 20
MIN_TICKS = 10
# Ticks without a sign before an alarm is over: what flickers is said once.
QUIET_TICKS = 3
# One bad score may be chance, and one bad update harmless.
DIVERGED_SCORES = 2
DIVERGED_UPDATES = 2


class Diverged(RuntimeError):
    """A run that has lost its way and is to go back.

    Attributes:
        healthy_nimg: Image count up to which checkpoints are to be trusted.
        rollbacks: How often the run went back before.
    """

    def __init__(self, reason: str, *, healthy_nimg: int, rollbacks: int):
        """Says what happened, and from where on."""
        super().__init__(reason)
        self.healthy_nimg = healthy_nimg
        self.rollbacks = rollbacks


@dataclasses.dataclass
class _Memory:
    """What is remembered from tick to tick, in JSON values: a resumed run goes on with it.

    `alarms` counts, per rule that has seen something of late, ticks with and without a sign.
    """

    rollbacks: int = 0
    nimg: int = 0
    healthy_nimg: int = 0
    resolution: int = 0
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    alarms: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    score_name: str = ""  # that the next four speak of
    best_score: float | None = None
    best_nimg: int = 0
    scored_nimg: int = 0  # where the last good score was taken
    worse_scores: int = 0


def _recall(saved: Mapping[str, Any], *, score_name: str) -> _Memory:
    """Reads the memory in a checkpoint's meta, without what it says of another score."""
    # Older checkpoints may hold what is not known any more.
    known = {field.name for field in dataclasses.fields(_Memory)}
    memory = _Memory(**{name: value for name, value in saved.items() if name in known})

    # Values of two scores cannot be compared: that of another one starts afresh.
    if memory.score_name != score_name:
        memory.score_name = score_name
        memory.best_score = None
        memory.best_nimg = 0
        memory.scored_nimg = memory.healthy_nimg
        memory.worse_scores = 0
        memory.alarms.pop(SCORE_RULE.name, None)
    return memory


class HealthMonitor:
    """Raises alarms, and tells when a run has diverged.

    All processes of a run see the same numbers and come to the same end.
    """

    def __init__(
        self,
        config: ConfigDict,
        saved: Mapping[str, Any] | None = None,
        diverged: Diverged | None = None,
        *,
        score_name: str | None = None,
    ):
        """Goes on where a checkpoint stood.

        Args:
            config: The run's config.
            saved: `health` in the checkpoint's meta; None: nothing is known yet.
            diverged: Why the run has just gone back to that checkpoint, if it has.
            score_name: The score that decides, as `scores.best_score` gives it.
        """
        self._config = config
        self._memory = _recall(saved or {}, score_name=score_name or "")
        # What speaks for a divergence now: words, or nothing.
        self._stuck = ""
        self._lost = ""
        # The checkpoint is from before the return, which is to be counted.
        if diverged is not None:
            self._memory.rollbacks = diverged.rollbacks + 1

    @property
    def rollbacks(self) -> int:
        """Tells how often the run went back."""
        return self._memory.rollbacks

    def meta(self) -> dict[str, Any]:
        """Returns what a checkpoint's meta must hold."""
        return {"health": dataclasses.asdict(self._memory)}

    def tick(self, nimg: int, means: Mapping[str, float], level: Level) -> dict[str, int]:
        """Looks at a tick's means.

        Args:
            nimg: Images shown so far.
            means: What is logged, with the totals `Skipped/G` and `Skipped/D`.
            level: Where the networks stand.

        Returns:
            `Health/alarms`, the number of alarms that stand.
        """
        memory = self._memory
        # Losses and gradients of another resolution are others: its past does not count.
        if level.resolution != memory.resolution:
            memory.history = {}
            memory.resolution = level.resolution

        # This tick, and what is usual.
        totals = {net: int(means.get(f"Skipped/{net}", 0)) for net in ("G", "D")}
        seen = Seen(
            config=self._config,
            resolution=level.resolution,
            means=means,
            medians={
                name: statistics.median(values)
                for name, values in memory.history.items()
                if len(values) >= MIN_TICKS
            },
            skipped={net: total - memory.skipped.get(net, 0) for net, total in totals.items()},
            iterations=max(1, (nimg - memory.nimg) // level.batch_size),
        )
        for rule in RULES:
            self._apply(rule, seen, nimg)

        # It belongs to the past of the next one.
        self._remember(dict(means) | {"gap": seen.gap})
        memory.nimg = nimg
        memory.skipped = totals

        # A network without a single finite update in a tick does not come back by itself.
        all_updates = max(seen.iterations, DIVERGED_UPDATES)
        stuck = [net for net, count in seen.skipped.items() if count >= all_updates]
        self._stuck = ""
        if stuck:
            self._stuck = f"no update of {' and '.join(stuck)} was finite in a whole tick"
        elif not any(seen.skipped.values()) and not memory.worse_scores:
            memory.healthy_nimg = nimg  # a divergence may begin with a single bad update
        return {"Health/alarms": sum(alarm["on"] for alarm in memory.alarms.values())}

    def score(self, nimg: int, scores: Mapping[str, float]) -> None:
        """Looks at the run's scores, of which the one that decides counts; it may be missing."""
        memory = self._memory
        name = memory.score_name
        score = scores.get(name.removeprefix("-"), math.nan)
        if not math.isfinite(score):
            return
        best = score if memory.best_score is None else memory.best_score
        seen = Seen(self._config, memory.resolution, {}, {}, {}, 0, name, score, best)

        # A bad score puts the blame on whatever came since the last good one.
        if worse_score(seen):
            memory.worse_scores += 1
            memory.healthy_nimg = min(memory.healthy_nimg, memory.scored_nimg)
        else:
            memory.worse_scores = 0
            memory.scored_nimg = nimg
        self._apply(SCORE_RULE, seen, nimg, quiet=1)
        is_better = score > best if name.startswith("-") else score < best
        if is_better or memory.best_score is None:
            memory.best_score = score
            memory.best_nimg = nimg

        # One may be chance; so many in a row are not.
        self._lost = ""
        if memory.worse_scores >= DIVERGED_SCORES:
            self._lost = f"{memory.worse_scores} scores in a row are bad, {worse_score(seen)}"

    def is_spent(self, nimg: int) -> str:
        """Says that the best score is older than the config's patience, or nothing."""
        memory = self._memory
        patience = self._config.metrics.patience_kimg * 1000
        if not patience or memory.best_score is None or nimg - memory.best_nimg < patience:
            return ""
        name = memory.score_name.removeprefix("-")
        return (
            f"{name} has not been better than {memory.best_score:.4g}, of "
            f"{memory.best_nimg / 1000:g} kimg, for metrics.patience_kimg="
            f"{self._config.metrics.patience_kimg:g}"
        )

    def is_diverged(self) -> bool:
        """Tells whether no update was finite in a whole tick, or scores stay far above the best."""
        return bool(self._stuck or self._lost)

    def check(self) -> None:
        """Sends a diverged run back, where the config wants that.

        Raises:
            Diverged: It has diverged, and may still go back.
            RuntimeError: It went back as often as it may.
        """
        health = self._config.health
        memory = self._memory
        if not self.is_diverged() or not health.rollback:
            return

        # Each return takes other random numbers; what fails again and again is in the settings.
        where = f"The run has diverged at {memory.nimg / 1000:g} kimg: {self._stuck or self._lost}."
        if memory.rollbacks >= health.max_rollbacks:
            raise RuntimeError(
                f"{where} It went back {memory.rollbacks} times (health.max_rollbacks) and did not "
                "get over it. The alarms in log.txt say what to change; with other settings and "
                f"--config.health.max_rollbacks={memory.rollbacks + 3} the same command continues "
                "from the last checkpoint."
            )
        raise Diverged(where, healthy_nimg=memory.healthy_nimg, rollbacks=memory.rollbacks)

    def _remember(self, means: Mapping[str, float]) -> None:
        """Adds a tick to the past; what is not finite would spoil it."""
        # Absolute values: a critic's loss changes its sign, and its median would be near zero.
        for name, mean in means.items():
            if math.isfinite(mean) and name.startswith(("Loss/", "Grad/", "gap")):
                values = [*self._memory.history.get(name, ()), abs(float(mean))]
                self._memory.history[name] = values[-WINDOW_TICKS:]

    def _apply(self, rule: Rule, seen: Seen, nimg: int, *, quiet: int = QUIET_TICKS) -> None:
        """Raises or ends an alarm; says so once."""
        words = rule.look(seen)
        alarms = self._memory.alarms
        if not words and rule.name not in alarms:
            return

        # Ticks in a row with a sign, and without one.
        alarm = alarms.setdefault(rule.name, {"on": False, "signs": 0, "quiet": 0})
        alarm["signs"] = alarm["signs"] + 1 if words else 0
        alarm["quiet"] = 0 if words else alarm["quiet"] + 1

        # It is raised after the ticks of its rule, and forgotten after some without a sign; what
        # was never raised is forgotten at once.
        if not alarm["on"] and alarm["signs"] >= rule.ticks:
            alarm["on"] = True
            advice = list(dict.fromkeys(advise(seen) for advise in rule.advice))
            lines = (
                f"ALARM at {nimg / 1000:.1f} kimg: {rule.title}",
                f"  seen:  {words}",
                f"  means: {rule.meaning}",
                f"  try:   {'; '.join(advice)}",
            )
            print("\n".join(lines), flush=True)
        elif not words and (not alarm["on"] or alarm["quiet"] >= quiet):
            if alarm["on"]:
                print(f"alarm over at {nimg / 1000:.1f} kimg: {rule.title}", flush=True)
            del alarms[rule.name]
