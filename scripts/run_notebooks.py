"""Execute the notebooks in place, so that they are read with their figures: ``make notebooks``.

    .venv/bin/python scripts/run_notebooks.py [NOTEBOOK ...]

Each runs in an empty folder, as from an installed package. What is kept holds no times of execution, no path and no
name of the machine but its processor's, and less than 300 kB; otherwise nothing is written, and one line says why.
"""

import base64
import getpass
import io
import platform
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes of a notebook with its figures
COLOURS = 32  # with their shades, more than a figure has
SECONDS = 600  # for a cell: the one that measures takes one or two minutes
# Folders of this machine, and dates with the time of the day. Base 64, in which figures are stored, has slashes too.
PRIVATE = re.compile(r"(?<![\w+/=])/(?:home|root|tmp|work|Users|opt|usr|var)/\w|\d{4}-\d\d-\d\d[T ]\d\d:\d\d")

# Runs before the first cell and is not kept: figures at a resolution at which they print sharp.
SHARP = "from matplotlib_inline.backend_inline import set_matplotlib_formats; set_matplotlib_formats('png', dpi=150)"


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def execute(notebook, folder):
    """Run all cells in ``folder``; the cells then hold their outputs, and no times."""
    resources = {"metadata": {"path": str(folder)}}
    # Sockets in a folder: a port that was free a moment ago may be taken when the kernel comes to bind it.
    with tempfile.TemporaryDirectory(prefix="pcsim-") as sockets:
        config = Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources=resources,
            config=config,
            record_timing=False,
        ).execute()


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def smaller(picture):
    """A figure (PNG in base 64) with a palette of its own colours: a quarter of the bytes, and the same to the eye."""
    stored = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(stored, "png", optimize=True)
    return base64.b64encode(stored.getvalue()).decode()


def texts(output):
    """What an output says by kind, without pictures and without what stands for one in plain text."""
    data = output.get("data", {})
    pictured = any(kind.startswith("image/") for kind in data)
    said = {kind: text for kind, text in data.items() if kind.startswith("text/") and not pictured}
    return said | ({output["name"]: output["text"]} if output.output_type == "stream" else {})


def faults(notebook, names=()):
    """What must not be stored with a notebook, one line each; ``names`` are those of the machine and its user."""
    found = []
    named = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b" if names else "(?!)")
    for output in outputs(notebook):
        if output.output_type == "error":
            found.append(f"a cell failed: {output.ename}: {output.evalue}")
        for kind, text in texts(output).items():
            if kind == "stderr":
                found.append(f"a warning: {text.strip()}")
            if PRIVATE.search(text) or named.search(text):
                found.append(f"names this machine or the time: {text.strip()}")
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST:
        found.append(f"{size:,} bytes, at most {LARGEST:,}")
    return found


def run(path):
    """Execute one notebook and keep its outputs; returns what is wrong with them, and then keeps none."""
    notebook = read(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SHARP))
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, folder)
    del notebook.cells[0]
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    for output in outputs(notebook):
        if picture := output.get("data", {}).get("image/png"):
            output.data["image/png"] = smaller(picture)
    notebook.metadata.language_info = {"name": "python"}  # not the version that happened to run it
    names = {platform.node(), platform.node().partition(".")[0], getpass.getuser()} - {"", "localhost", "root"}
    if not (wrong := faults(notebook, names)):
        nbformat.write(notebook, path)
    return wrong


if __name__ == "__main__":
    code = 0
    for path in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        wrong = run(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes" if not wrong else f"{path.name}: not kept", flush=True)
        print("".join(f"  {line}\n" for line in wrong), end="")
        code |= bool(wrong)
    sys.exit(code)
