"""``--tune``: a bar while it measures, and what is said when time was up."""

from netc.backends.llvm.object_cache import ObjectCache
from netc.cli.tuning import tuning
from netc.runtime.tuning.choice_store import ChoiceStore
from netc.runtime.tuning.tuner import Tuner


def test_a_net_is_tuned_and_compiled(netc, net_file):
    outcome = netc("compile", net_file, "--tune", "-o", "tuned.netc", "--threads", 1)
    assert (outcome.code, outcome.err) == (0, "")
    assert netc("time", "tuned.netc", "--repeats", 1).code == 0


def test_a_compiled_net_is_not_tuned(netc, net_file):
    assert netc("compile", net_file, "-o", "plain.netc").code == 0
    outcome = netc("time", "plain.netc", "--tune")
    assert outcome.code == 2
    assert "--tune has no effect" in outcome.err


def test_what_was_not_measured_is_said(capsys):
    tuner = Tuner(store=ChoiceStore(ObjectCache(None)))
    with tuning(tuner):
        tuner.unmeasured = 3
    assert "no time was left to measure 3 of the choices" in capsys.readouterr().err
    with tuning(None):
        pass
    assert capsys.readouterr().err == ""
