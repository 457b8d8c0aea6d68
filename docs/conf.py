"""The documentation, built by ``make docs`` without a network: pages in Markdown, the notebooks as they are stored."""

import shutil
from pathlib import Path

import pcsim

HERE = Path(__file__).parent

# Notebooks are shown with the outputs that they are stored with. Sphinx reads only what lies in its own folder.
NOTEBOOKS = HERE / "notebooks"
for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
    NOTEBOOKS.mkdir(exist_ok=True)
    shutil.copyfile(notebook, NOTEBOOKS / notebook.name)

project = "pcsim"
author = "The pcsim developers"
copyright = author
version = release = pcsim.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinxarg.ext"]
exclude_patterns = ["_build"]
smartquotes = False  # -- of options stays what it is

html_theme = "furo"
html_title = f"pcsim {version}"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
