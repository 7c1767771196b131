"""Writes a page about one training run, or about several side by side: one HTML file.

    python -m stylegan_jax.tools.report runs/quickstart --out=report.html
    python -m stylegan_jax.tools.report runs/quickstart runs/roles --out=compare.html

It holds the curves of all that was logged, alarms with what to do, the sample grids with a slider,
figures that lie in the folder, checkpoints, evaluations, and settings beside the recipe's. The file
needs no network: it can be sent, and opened from a disk. A run that still trains, was killed, or
never scored is shown as far as it is.

A page of more than `--max_mb` has its pictures smaller, and fewer grids, and says so.

Plots need plotly, and the page jinja2: `pip install -e '.[report]'`.
"""

from absl import app, flags

from stylegan_jax.files import replacing
from stylegan_jax.tools import command
from stylegan_jax.tools.report.page import write_page
from stylegan_jax.tools.report.plots import check_plotly
from stylegan_jax.tools.report.reading import read_runs

# plotly's JavaScript takes 5 MB of each page; below this no picture would fit.
_LEAST_MB = 8


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    flags.DEFINE_string("out", None, "The page, a file that ends in .html.", required=True)
    flags.DEFINE_float(
        "max_mb", 64, "Largest page in MB; pictures are made smaller for it.", lower_bound=_LEAST_MB
    )


def main(argv: list[str]) -> None:
    """Reads the flags and the runs, and writes the page."""
    FLAGS = flags.FLAGS
    if len(argv) < 2:
        raise app.UsageError("Give the folder of a run, or of several: WORKDIR [WORKDIR ...].")
    command.quiet_libraries()
    # What cannot be written or drawn is refused before anything is read.
    out = command.check_output(FLAGS.out, ".html")
    check_plotly(f"--out={FLAGS.out}")
    page = write_page(read_runs(argv[1:]), max_bytes=round(FLAGS.max_mb * 1e6))
    with replacing(out) as file:
        file.write_text(page, encoding="utf-8")
    print(f"wrote {out}: {len(argv) - 1} run(s), {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    define_flags()
    command.run(main)
