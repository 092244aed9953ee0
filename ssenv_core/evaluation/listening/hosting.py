"""Write a listening test as a folder for any web server, and its key outside of that folder.

The folder holds index.html, listening.js, listening.css, config.json and audio/. Nothing in it says
which sound is which: files have blind names, are written in the order of these names, and have the
same size within a page. The page offers the ratings as a download.
"""

import csv
import io
import shutil
import tempfile
from pathlib import Path

from ssenv_core.base.audio import write_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import write_json, write_text
from ssenv_core.evaluation.listening.design import LETTERS, SCALES, WORDS, ListeningTest, Page
from ssenv_core.evaluation.listening.ratings import COLUMNS, LISTENER

PAGE = Path(__file__).parent / "page"
AUDIO = "audio"
KEY_COLUMNS = ("version", "test", "page", "stimulus", "condition", "clips")


def write_page(folder: str | Path, test: ListeningTest) -> Path:
    """Write the folder and return it; replace an earlier version once the new one is complete.

    Raises:
        SsenvError: the file system refuses the write (disk full, no permission).
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise SsenvError(f"cannot write {folder}: {error.strerror}") from error
    try:
        for name in ("index.html", "listening.js", "listening.css"):
            write_text(made / name, (PAGE / name).read_text())
        for name, wav in test.sounds().items():
            write_audio(made / AUDIO / name, wav, test.sample_rate)
        write_json(made / "config.json", configuration(test))
        made.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    except OSError as error:
        raise SsenvError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def configuration(test: ListeningTest) -> dict:
    """The content of config.json: all that the page needs, without the conditions."""

    def described(page: Page) -> dict:
        stimuli = [
            {"name": stimulus.name, "files": [f"{AUDIO}/{file}" for file in stimulus.files]}
            for stimulus in page.stimuli
        ]
        reference = page.reference and [f"{AUDIO}/{file}" for file in page.reference.files]
        return {
            "name": page.name,
            "test": page.test,
            "question": page.question,
            "reference": reference,
            "stimuli": stimuli,
        }

    return {
        "version": test.version,
        "seed": test.seed,
        "letters": LETTERS,
        "listener": LISTENER,
        "columns": COLUMNS,
        "scales": SCALES,
        "words": WORDS,
        "training": described(test.training),
        "pages": [described(page) for page in test.pages],
    }


def write_key(folder: str | Path, test: ListeningTest) -> Path:
    """Write key-VERSION.csv, which says what each stimulus is, and return its path.

    Keys of other versions are kept, because their ratings need them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(KEY_COLUMNS)
    for page in test.pages:
        for stimulus in page.stimuli:
            writer.writerow(
                [
                    test.version,
                    page.test,
                    page.name,
                    stimulus.name,
                    stimulus.condition,
                    " ".join(stimulus.clips),
                ]
            )
    return write_text(Path(folder) / f"key-{test.version}.csv", text.getvalue())
