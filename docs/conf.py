"""The documentation, built by ``make docs`` without a network: pages in Markdown, the notebooks as they are stored."""

import json
import shutil
from pathlib import Path

from docutils import nodes

import pcsim
from pcsim.predict.machine_files import PRESETS, presets

HERE = Path(__file__).parent

# Notebooks are shown with the outputs that they are stored with. Sphinx reads only what lies in its own folder.
NOTEBOOKS = HERE / "notebooks"
for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
    NOTEBOOKS.mkdir(exist_ok=True)
    shutil.copy2(notebook, NOTEBOOKS / notebook.name)  # with its time: what has not changed is not read again


def figures(content, path=""):
    """Every figure of a machine file: where it stands, value, unit, source."""
    if isinstance(content, dict) and "value" in content:
        yield (
            path,
            "no end" if content["value"] is None else f"{content['value']:g}",
            content["unit"],
            content["source"],
        )
    elif isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for name, inner in items:
            name = inner.get("level", name) if isinstance(inner, dict) else name
            yield from figures(inner, f"{path}.{name}" if path else str(name))


def preset_page():
    """The machines that come with pcsim as tables."""
    for name in presets():
        content = json.loads((PRESETS / f"{name}.json").read_text(encoding="utf-8"))
        yield f"## {name}\n\n{content['title']}. Products by model `{content['products']['model']}`.\n"
        yield "\n".join(f"- {note}" for note in content.get("notes", [])) + "\n"
        yield "| figure | value | unit | source |\n| :-- | --: | :-- | :-- |"
        for row in figures(content):
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        yield ""


GENERATED = HERE / "_generated"
GENERATED.mkdir(exist_ok=True)
(GENERATED / "presets.md").write_text("\n".join(preset_page()), encoding="utf-8")

project = "pcsim"
author = "The pcsim developers"
copyright = author
version = release = pcsim.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinxarg.ext"]
exclude_patterns = ["_build", "_generated"]
smartquotes = False  # -- of options stays what it is

html_theme = "furo"
html_title = f"pcsim {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # outputs in Markdown have tables

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True


def short_titles(app, doctree):
    """Of what is generated from the parsers: a heading for each verb, and none for kinds of arguments."""
    if app.env.docname != "reference/cli":
        return
    for title in list(doctree.findall(nodes.title)):
        if title.astext() in ("Named Arguments", "Positional Arguments"):
            section = title.parent
            section.remove(title)
            section.parent.replace(section, section.children)
        elif title.astext() == "Sub-commands":
            title.children = [nodes.Text("Verbs")]


def setup(app):
    app.connect("doctree-read", short_titles, priority=100)  # before titles are collected for the sidebar
