"""The figure of the metrics' distributions grows with the number of metrics."""

import numpy as np
import pandas as pd
import pytest

from ssenv_core.metrics.acoustic import METRICS, Metric
from ssenv_core.plots import metrics


def test_another_metric_gets_a_panel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "crest", Metric("crest factor", "dB"))
    names = (*metrics.COMPARED, "crest")
    monkeypatch.setattr(metrics, "COMPARED", names)
    table = pd.DataFrame({name: np.arange(4.0) for name in names})
    figure = metrics.metric_distributions({"real": table})
    assert len(figure.data) == len(names)
    assert len({trace.xaxis for trace in figure.data}) == len(names)
