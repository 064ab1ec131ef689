"""Settings for nbgrader, given in the project's folder: ``nbgrader generate_assignment notebooks``."""

import os
import sys
from pathlib import Path

from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import NbGraderPreprocessor

from helpers.report import handout


class Shown(NbGraderPreprocessor):
    """Leaves the cells that students get, unfolded, as ``python -m helpers handout`` does."""

    def preprocess(self, nb, resources):
        """Change the list of cells."""
        nb.cells = handout.shown(nb.cells)
        return nb, resources


# nbgrader starts a program of its own environment by name.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "user-activity-course"
c.CourseDirectory.source_directory = "."  # the assignment is the folder of notebooks itself
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "TEACHING.md"]
c.ClearSolutions.code_stub = {"python": handout.ANSWER}
c.ClearSolutions.text_stub = handout.REASON
c.GenerateAssignment.preprocessors = [Shown, *GenerateAssignment.preprocessors.default()]
c.Execute.timeout = 3600  # seconds for a cell: the comparison measures for long
