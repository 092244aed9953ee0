"""Listening tests without widgets: what is played to whom in which order, the page that any web server can host, the ratings, and what
they say."""

from ssenv_core.listening.analysis import Verdict, analyse, compare_conditions, screen_listeners, summarise
from ssenv_core.listening.design import (
    ANCHORS,
    QUESTIONS,
    REFERENCE,
    SCALES,
    WORDS,
    Coded,
    ListeningTest,
    Page,
    Recording,
    Stimulus,
    choose_recordings,
    listener_order,
    listener_pages,
    low_pass,
    make_test,
)
from ssenv_core.listening.hosting import write_key, write_page
from ssenv_core.listening.ratings import COLUMNS, Rating, append_ratings, collect_ratings, read_ratings, start_ratings

__all__ = [
    "ANCHORS",
    "COLUMNS",
    "QUESTIONS",
    "REFERENCE",
    "SCALES",
    "WORDS",
    "Coded",
    "ListeningTest",
    "Page",
    "Rating",
    "Recording",
    "Stimulus",
    "Verdict",
    "analyse",
    "append_ratings",
    "choose_recordings",
    "collect_ratings",
    "compare_conditions",
    "listener_order",
    "listener_pages",
    "low_pass",
    "make_test",
    "read_ratings",
    "screen_listeners",
    "start_ratings",
    "summarise",
    "write_key",
    "write_page",
]
