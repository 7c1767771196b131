"""Looks at data sets and converts them: folders of images, zips, LSUN, TFRecords, CIFAR-10.

    python -m stylegan_jax.tools.dataset prepare --name=ffhq --source=PATH --resolution=256
    python -m stylegan_jax.tools.dataset prepare --name=mine --source=PATH --resolution=256 \\
        --crop=center-crop
    python -m stylegan_jax.tools.dataset prepare --name=mine --source=PATH --resolution=48x32 \\
        --crop=pad
    python -m stylegan_jax.tools.dataset check --source=PATH --resolution=256 --labels
    python -m stylegan_jax.tools.dataset show --source=PATH --out=sheet.png
    python -m stylegan_jax.tools.dataset show --source=openmoji/portraits --labels=role --out=x.png
    python -m stylegan_jax.tools.dataset stats --source=PATH --json
    python -m stylegan_jax.tools.dataset export --source=PATH --out=FILE.zip

prepare writes a data set for training: images of one size, labels, in few large files. check lists
every bad file with its reason, and exits with 1 if there is one. show draws a contact sheet. stats
counts and measures. export writes a zip for NVIDIA's repositories. Wrong options exit with 1 too,
data sets that cannot be read with 2. Sizes are the side of squares, 256, or height x width, 48x32.
"""

import inspect
import json
from collections.abc import Callable
from typing import Any

from absl import app, flags
from etils import epath

from stylegan_jax.data import DATA_DIR, catalog
from stylegan_jax.data.archives import Archive
from stylegan_jax.data.builders import DATASET_SPECS
from stylegan_jax.data.builders.base import SKIPPED_FILE
from stylegan_jax.data.codecs import encode
from stylegan_jax.data.preparation.records import STORED_AS
from stylegan_jax.data.preparation.transforms import CROPS, FILTERS
from stylegan_jax.sizes import Size, name_size, parse_size
from stylegan_jax.tools import command
from stylegan_jax.tools.dataset.checks import check_images, count_reasons
from stylegan_jax.tools.dataset.contact_sheet import contact_sheet
from stylegan_jax.tools.dataset.export import export_zip, note_on_size
from stylegan_jax.tools.dataset.statistics import measure


def prepare(
    *,
    name: str,
    resolution: Size,
    source: str | None = None,
    variant: str = "",
    crop: str | None = None,
    filter: str = "lanczos",
    channels: int | None = None,
    bits: int | None = None,
    encoding: str = "source",
    max_images: int = 0,
    allow_partial: bool = False,
    skip_bad: bool = False,
    num_workers: int | None = None,
    data_dir: str = DATA_DIR,
) -> int:
    """Writes the data set in the form that training reads."""
    command.check_output(data_dir, None, "data_dir")
    folder = catalog.prepare(
        name,
        source,
        size=resolution,
        variant=variant,
        crop=crop,
        filter=filter,
        channels=channels,
        bits=bits,
        encoding=encoding,
        max_images=max_images,
        allow_partial=allow_partial,
        skip_bad=skip_bad,
        num_workers=num_workers,
        data_dir=data_dir,
    )
    if (skipped := folder / SKIPPED_FILE).exists():
        print(f"{len(json.loads(skipped.read_text()))} image(s) were left out, listed in {skipped}")
    # The options that training needs to find it.
    dataset = f"{name}/{variant}" if variant else name
    settings = {"dataset": dataset, "resolution": name_size(resolution)}
    if data_dir != DATA_DIR:
        settings["data_dir"] = data_dir
    given = " ".join(f"--config.data.{key}={value}" for key, value in settings.items())
    print(f"{folder}\nTrain on it with {given}")
    return 0


def check(
    source: str,
    *,
    resolution: Size | None = None,
    labels: bool | str = False,
    report: str | None = None,
    num_workers: int | None = None,
) -> int:
    """Prints what is wrong with which image; 1 if anything is."""
    if report:
        command.check_output(report, ".json", "report")
    archive = _open(source, resolution)
    problems, notes = check_images(archive, size=resolution, labels=labels, num_threads=num_workers)
    for note in notes:
        print(f"NOTE: {note}")
    for problem in problems:
        print(problem)
    # An image with two problems is one bad image.
    counts = count_reasons(problems)
    bad = len({problem.file for problem in problems})
    print(f"{archive.name}: {len(archive)} images, {bad} with problems")
    for reason, count in counts.items():
        print(f"  {reason:20s} {count}")
    if report:
        content = {
            "source": source,
            "images": len(archive),
            "counts": counts,
            "problems": [vars(problem) for problem in problems],
        }
        _write(report, json.dumps(content, indent=1).encode())
    return 1 if problems else 0


def show(
    source: str,
    *,
    out: str,
    resolution: Size | None = None,
    count: int = 64,
    seed: int = 0,
    labels: bool | str = False,
) -> int:
    """Writes a contact sheet."""
    command.check_output(out, ".png")
    archive = _open(source, resolution)
    picture, note = contact_sheet(archive, count=count, seed=seed, labels=labels)
    _write(out, encode(picture))
    print(f"wrote {out}: {note}")
    return 0


def export(
    source: str, *, out: str, resolution: Size | None = None, num_workers: int | None = None
) -> int:
    """Writes an NVIDIA data set zip."""
    command.check_output(out, ".zip")
    archive = _open(source, resolution)
    catalog.tell_what_is_left_out(archive)
    export_zip(archive, out, num_threads=num_workers)
    if note := note_on_size(archive.read_format(0).size):
        print(f"NOTE: {note}")
    print(f"wrote {out}: {len(archive)} images, {archive.labels.describe()}")
    return 0


def stats(
    source: str,
    *,
    json: bool = False,
    resolution: Size | None = None,
    num_workers: int | None = None,
) -> int:
    """Prints what the data set holds."""
    archive = _open(source, resolution)
    catalog.tell_what_is_left_out(archive)
    found = measure(archive, num_threads=num_workers)
    print(_dump(found.to_json()) if json else found.to_text())
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "prepare": prepare,
    "check": check,
    "show": show,
    "export": export,
    "stats": stats,
}


def _open(path: str, size: Size | None = None) -> Archive:
    """Opens the data set at a path, or a built-in one by its name."""
    return catalog.open_images(path, size=size)


def _dump(content: Any) -> str:
    # A function of its own, as `stats` has an option called json.
    return json.dumps(content, indent=1)


def _write(path: str, content: bytes) -> None:
    """Writes a file into a folder that need not exist."""
    file = epath.Path(path).expanduser()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


class _SizeParser(flags.ArgumentParser):
    """Reads `256` or `48x32`."""

    def parse(self, argument: str) -> Size:
        """Returns height and width."""
        return parse_size(argument)


class _LabelsParser(flags.ArgumentParser):
    """Reads `true`, `false` or a name."""

    def parse(self, argument: bool | str) -> bool | str:
        """Returns the value."""
        return {"true": True, "false": False}.get(str(argument).lower(), argument)


class _LabelsFlag(flags.Flag):
    """`--labels` alone, or with a name."""

    def __init__(self, text: str):
        super().__init__(_LabelsParser(), None, "labels", False, text, boolean=True)


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    # Options may stand after the command.
    flags.FLAGS.set_gnu_getopt(True)

    # Of several commands.
    text("source", None, "A folder, a zip or another file, local or gs://; or openmoji/portraits.")
    text("out", None, "show: the PNG file to write. export: the zip.")
    labels = _LabelsFlag("check: every image needs one. show: draw them. Or a name of labels.")
    flags.DEFINE_flag(labels, flag_values=flags.FLAGS)
    sizes = (
        "256, or height x width, 48x32. check: wanted size. prepare: size to write. Others: of "
        "built-in images, of TFRecords."
    )
    flags.DEFINE(_SizeParser(), "resolution", None, sizes, flag_values=flags.FLAGS)
    number("num_workers", None, "Images read at a time.", lower_bound=1, upper_bound=256)

    # Of one command each.
    text("report", None, "check: write what is found to this JSON file, too.")
    number("count", 64, "show: how many images.", lower_bound=1)
    number("seed", 0, "show: of the random choice.", lower_bound=0)
    flags.DEFINE_bool("json", False, "stats: print JSON.")

    # Of prepare.
    names = ", ".join(DATASET_SPECS)
    text("name", None, f"prepare: {names}, or a new name for images of your own.")
    text("variant", "", "prepare: part of a data set, such as a category of LSUN.")
    text("data_dir", DATA_DIR, "prepare: folder of prepared data sets, local or gs://.")
    flags.DEFINE_enum(
        "crop", None, CROPS, "prepare: how images get the proportions of --resolution."
    )
    flags.DEFINE_enum("filter", "lanczos", list(FILTERS), "prepare: how to resize.")
    number("channels", None, "prepare: convert to 1, 2, 3 or 4 channels.")
    number("bits", None, "prepare: convert to 8 or 16 bits per channel.")
    flags.DEFINE_enum("encoding", "source", STORED_AS, "prepare: how to store; source: as it is.")
    number("max_images", None, "prepare: take the first ones only.", lower_bound=1)
    flags.DEFINE_bool("allow_partial", False, "prepare: accept a data set with gaps.")
    flags.DEFINE_bool("skip_bad", False, "prepare: leave out images that cannot be used.")


def main(argv: list[str]) -> int:
    """Reads the flags and runs a command."""
    FLAGS = flags.FLAGS
    if len(argv) != 2 or argv[1] not in COMMANDS:
        raise app.UsageError(
            f"Got {' '.join(argv[1:]) or 'no command'}; wanted one of {', '.join(COMMANDS)}, and "
            "every option as --name=value."
        )
    command.quiet_libraries()

    # A command takes the options that its function has as arguments, and no others.
    function = COMMANDS[argv[1]]
    parameters = inspect.signature(function).parameters
    known = {name for other in COMMANDS.values() for name in inspect.signature(other).parameters}
    options = {name: FLAGS[name].value for name in known if FLAGS[name].present}
    unused = sorted(options.keys() - parameters.keys())
    if unused:
        raise app.UsageError(f"{argv[1]} has no option --{', --'.join(unused)}.")
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in options
    ]
    if missing:
        raise app.UsageError(f"{argv[1]} needs --{', --'.join(missing)}.")

    return function(**options)


if __name__ == "__main__":
    define_flags()
    command.run(main)
