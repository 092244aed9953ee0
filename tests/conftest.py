"""What tests of several files need."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def recordings() -> Path:
    """The folder that SSENV_TEST_DATA names, with esc50/, urbansound8k/ and paper/.

    paper/ has the paper's generated clips and their published values.
    """
    folder = os.environ.get("SSENV_TEST_DATA")
    if not folder:
        pytest.skip(
            "SSENV_TEST_DATA does not name the folder with esc50/, urbansound8k/ and paper/"
        )
    return Path(folder)
