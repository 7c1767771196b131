"""Which curves share a plot, and what is said below it."""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Panel(NamedTuple):
    """One plot.

    Attributes:
        group: Of the page: a key of `GROUPS`.
        title: Above the plot.
        names: Regular expression of the curves' names.
        axis: What the vertical axis counts.
        is_log: Whether it is logarithmic, where all values allow that.
        text: How to read it.
    """

    group: str
    title: str
    names: str
    axis: str = ""
    is_log: bool = False
    text: str = ""


# Groups in the order of the page.
GROUPS = {
    "scores": "Scores",
    "losses": "Losses",
    "signs": "What D says",
    "gradients": "Gradients",
    "other": "Other numbers",
    "speed": "Speed and memory",
    "health": "Health",
}
PANELS = (
    Panel(
        "scores",
        "Sliced Wasserstein distance",
        r"swd(_floor|_split)?(_\d+)?",
        "swd",
        is_log=True,
        text="Lower is better. Dashed: what reals score against themselves. Dotted: one half of "
        "the reals against the other.",
    ),
    Panel(
        "scores",
        "Equivariance",
        r"eq[tr].*",
        "dB",
        text="Higher is better. eqt: to translation by whole pixels (int) or any distance (frac); "
        "eqr: to rotation.",
    ),
    Panel(
        "scores",
        "Distance to the nearest training image",
        r"memory_(fakes|unseen)_p\d+",
        "grey levels",
        text="Samples (fakes), and images that were never shown (unseen): a median below theirs "
        "means copies.",
    ),
    Panel(
        "scores",
        "Copies and new combinations",
        r"memory_(copies|new)",
        "share of samples",
        text="Copies: nearer to a training image than nineteen of twenty unseen images. New: most "
        "like an image that was never shown.",
    ),
    Panel(
        "scores", "Memory", r"memory", "memory", text="Unseen over samples, in distance to reals."
    ),
    Panel("losses", "Losses of G and D", r"Loss/[^/]+/loss", "loss", is_log=True),
    Panel(
        "losses",
        "Regularisers",
        r"Loss/([^/]+/reg|.*(penalty|length|mean|drift).*)",
        "penalty",
        is_log=True,
        text="Penalties as they are, and as the optimiser gets them (reg).",
    ),
    Panel(
        "signs",
        "Signs of D(real) and D(fake)",
        r"Loss/signs/.*",
        "mean sign",
        text="1: D takes all of them for real; -1: for fake. Above 0.95 and below -0.95 for long, "
        "D is too strong.",
    ),
    Panel("signs", "Scores of D(real) and D(fake)", r"Loss/scores/.*", "mean logit"),
    Panel("gradients", "Gradient norms", r"Grad/.*", "norm", is_log=True),
    Panel("speed", "Images per second", r"Timing/img_per_sec(_per_chip)?", "images / s"),
    Panel("speed", "Seconds per kimg", r"Timing/sec_per_kimg", "s"),
    Panel("speed", "Seconds per step", r"Timing/sec_per_step", "s"),
    Panel(
        "speed",
        "Use of the chips, and waiting for data",
        r"Timing/(mfu|data_wait)",
        "share",
        text="mfu: model FLOPs as a share of the chips' peak.",
    ),
    Panel("speed", "Memory in use", r"Memory/.*", "GiB"),
    Panel("health", "Updates left out", r"Skipped/.*", "updates so far"),
    Panel("health", "Alarms that stand", r"Health/alarms", "alarms"),
)
# Prefixes of what is no score, by group.
_PREFIXES = {"Loss": "losses", "Grad": "gradients", "Timing": "speed", "Health": "health"}
# A score's reference: real images in the place of samples.
_REFERENCE = re.compile(r"_(floor|split)(?=_|$)")


def arrange(names: Iterable[str]) -> list[tuple[Panel, list[str]]]:
    """Puts every name into one plot.

    Names that no panel knows are plotted by what stands before their slash; those without a slash
    are scores, and share a plot by their first word.

    Args:
        names: Of curves.

    Returns:
        Plots that have a curve, in the order of the page, with their names sorted.
    """
    by_panel: dict[Panel, list[str]] = {}
    for name in sorted(names):
        panel = next((p for p in PANELS if re.fullmatch(p.names, name)), None) or _own_panel(name)
        by_panel.setdefault(panel, []).append(name)
    groups = list(GROUPS)
    order = {panel: number for number, panel in enumerate(PANELS)}
    plots = sorted(
        by_panel.items(), key=lambda item: (groups.index(item[0].group), order.get(item[0], 99))
    )
    # A plot that was made for one name bears it.
    return [
        (panel._replace(title=found[0]) if not panel.names and len(found) == 1 else panel, found)
        for panel, found in plots
    ]


def is_reference(name: str) -> bool:
    """Tells whether a curve is what reals score, which stays nearly the same."""
    return _REFERENCE.search(name) is not None


def is_detail(name: str) -> bool:
    """Tells whether a curve is a part of another one, such as `swd_32` of `swd`."""
    return re.fullmatch(r"swd(_floor|_split)?_\d+|Timing/img_per_sec_per_chip", name) is not None


def _own_panel(name: str) -> Panel:
    """Returns the plot of a name that no panel knows."""
    prefix, slash, _ = name.partition("/")
    if slash:
        return Panel(_PREFIXES.get(prefix, "other"), prefix, "")
    family = name.split("_")[0]
    return Panel("scores", family, "", family, is_log=True)
