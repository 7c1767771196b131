"""Runs notebooks in a kernel of their own, with small settings in their forms."""

import os
import pathlib
import re
import warnings

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_TIMEOUT_SEC = 300


def read(path):
    """A notebook as it lies in the repository."""
    return nbformat.read(path, as_version=4)


def fill_forms(notebook, **values):
    """Puts values into fields, each of which one form has."""
    for name, value in values.items():
        field = re.compile(rf"^{name} = .*?(?=  # @param)", re.MULTILINE)
        cells = [cell for cell in notebook.cells if field.search(cell.source)]
        assert len(cells) == 1, f"{len(cells)} forms have the field {name}"
        text = f"{name} = {value!r}"
        cells[0].source = field.sub(lambda match, text=text: text, cells[0].source)


def execute(name, folder, **values):
    """Runs a notebook in a folder.

    Returns:
        Outputs of its cells, by id.

    Raises:
        CellExecutionError: A cell failed; its last lines are in the message.
    """
    notebook = read(ROOT / "notebooks" / f"{name}.ipynb")
    fill_forms(notebook, **values)
    # The kernel finds this package, and writes nothing outside of the folder.
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "PYTHONWARNINGS": "ignore",
    }
    with warnings.catch_warnings():
        # Of the client's libraries.
        warnings.simplefilter("ignore")
        client = NotebookClient(
            notebook,
            timeout=_TIMEOUT_SEC,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env=env)
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def texts(outputs):
    """What a cell printed."""
    return "".join(output.text for output in outputs if output.output_type == "stream")


def pictures(outputs):
    """The PNG files of a cell, base64."""
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
