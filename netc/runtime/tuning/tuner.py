"""Chooses schedules by measuring them, and remembers what was measured.

Two kinds of questions are asked of a net: by which algorithm a convolution is computed, direct or Winograd's
with one of the tiles, before layouts are assigned; then, for every kernel that has a choice, how it is cut.
The model's own choice stays unless another one is clearly quicker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.ir.core import Module, Op, walk
from netc.ir.cost import macs
from netc.ir.printer import print_module
from netc.ir.types import type_symbols
from netc.passes.use_winograd import ChooseTile
from netc.runtime.tuning.choice_store import ChoiceStore
from netc.runtime.tuning.cuda_setting import CudaSetting
from netc.runtime.tuning.device_timer import DeviceTimer
from netc.runtime.tuning.launch_timer import LaunchTimer
from netc.runtime.tuning.lone_conv import lone_launch, lone_module
from netc.runtime.tuning.setting import Setting

LIMIT_S = 300.0
MARGIN = 0.03  # of the model's time: what is gained for less may be noise
HOPELESS_COST = 2.0  # algorithms of so much more than the model's least cost are not measured
DIRECT = "direct"
OWN = "own"  # the model's own schedule

AnySetting = Setting | CudaSetting
Measure = Callable[[Sequence[Op], Any], list[float]]
"""The seconds that each of some launches takes in a setting."""
Costs = Callable[[Op], dict[int | None, float]]
"""The model's cost of each tile for an ``nn.conv``; None: a direct convolution."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to choose: ``choices``, the model's first, and how to make a launch of each.

    ``text`` says it in full; ``products`` counts the multiply-adds that depend on it.
    """

    text: str
    choices: tuple[str, ...]
    launch: Callable[[str], Op]
    products: int


class Tuner:
    """Answers from the store, and by measuring what is not there, ``limit_s`` seconds at most in all.

    ``on_progress(done, total)`` is called between measurements. ``unmeasured`` questions got the model's
    answer for want of time; they are left for another time.
    """

    def __init__(
        self,
        on_progress: Callable[[int, int], None] | None = None,
        *,
        limit_s: float = LIMIT_S,
        store: ChoiceStore | None = None,
        measure: Measure | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unmeasured = 0
        self.on_progress = on_progress
        self._left_s = limit_s
        self._store = store or ChoiceStore(ObjectCache(default_cache_dir()))
        self._measure = measure
        self._clock = clock

    def choose_algorithms(self, convs: Sequence[Op], costs: Costs, setting: Setting) -> ChooseTile:
        """The tile of each convolution, which may be one of ``convs`` or any like them."""
        questions: dict[str, Question] = {}
        for conv in convs:
            module = lone_module(conv)
            text = print_module(module)
            if text not in questions and (found := _algorithms(module, text, costs(conv), setting)):
                questions[text] = found
        answers = self._answer(list(questions.values()), setting)

        def choose(conv: Op) -> int | None:
            text = print_module(lone_module(conv))
            if text not in answers:
                options = costs(conv)
                return min(options, key=options.__getitem__)
            return _tile(answers[text])

        return choose

    def with_schedules(self, module: Module, setting: AnySetting) -> Module:
        """A buffer module whose launches say how they are cut where that is not the model's choice."""
        main = module.func("main")
        questions: dict[str, Question] = {}
        for op in main.ops:
            others = setting.other_schedules(op) if op.name == "buffer.launch" else []
            if others:
                assert op.body is not None
                launch = partial(_with_schedule, op)
                question = Question(setting.question(op), (OWN, *others), launch, _products(op.body.ops))
                questions.setdefault(question.text, question)
        answers = self._answer(list(questions.values()), setting)

        def scheduled(op: Op) -> Op:
            if op.name != "buffer.launch":
                return op
            return _with_schedule(op, answers.get(setting.question(op), OWN))

        return module.with_func(replace(main, ops=tuple(map(scheduled, main.ops))))

    def _answer(self, questions: Sequence[Question], setting: AnySetting) -> dict[str, str]:
        """The choice for each question by its text."""
        known = {q.text: self._store.get(_key(q, setting), q.choices) for q in questions}
        answers = {text: choice for text, choice in known.items() if choice is not None}
        # the largest first: they matter most if time runs out
        todo = [q for q in questions if q.text not in answers]
        todo.sort(key=lambda q: -q.products)
        for done, question in enumerate(todo):
            if self._left_s <= 0:
                self.unmeasured += len(todo) - done
                break
            self._show(done, len(todo))
            answers[question.text] = self._measured(question, setting)
        self._show(len(todo), len(todo))
        return {q.text: answers.get(q.text, q.choices[0]) for q in questions}

    def _show(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)

    def _measured(self, question: Question, setting: AnySetting) -> str:
        start = self._clock()
        if self._measure is None:
            on_gpu = isinstance(setting, CudaSetting)
            timer: Measure = DeviceTimer() if on_gpu else LaunchTimer()
            self._measure = timer
        launches = [question.launch(choice) for choice in question.choices]
        seconds = dict(zip(question.choices, self._measure(launches, setting), strict=True))
        own, best = question.choices[0], min(seconds, key=seconds.__getitem__)
        if _clearly_quicker(seconds[best], seconds[own]):
            # the least of many times is too good by the noise: those two alone, once more
            pair = [launches[question.choices.index(choice)] for choice in (own, best)]
            seconds.update(zip((own, best), self._measure(pair, setting), strict=True))
        self._left_s -= self._clock() - start
        choice = best if _clearly_quicker(seconds[best], seconds[own]) else own
        self._store.put(_key(question, setting), choice, seconds)
        return choice


def _algorithms(
    module: Module, text: str, costs: dict[int | None, float], setting: Setting
) -> Question | None:
    """The algorithms that may be the quickest for a convolution; None where there is but one."""
    (conv,) = module.func("main").ops
    tiles = sorted(costs, key=costs.__getitem__)
    tiles = [tile for tile in tiles if costs[tile] <= costs[tiles[0]] * HOPELESS_COST]
    if len(tiles) < 2 or any(type_symbols(v.type) for v in (*conv.operands, *conv.results)):
        return None
    names = tuple(DIRECT if tile is None else str(tile) for tile in tiles)

    def launch(name: str) -> Op:
        return lone_launch(module, _tile(name), setting.target)

    return Question(text, names, launch, _products((conv,)))


def _products(ops: tuple[Op, ...]) -> int:
    """The multiply-adds of static ops."""
    found = [macs(op) for op in walk(ops)]
    return sum(count for count in found if isinstance(count, int))


def _clearly_quicker(seconds: float, own: float) -> bool:
    return seconds < own * (1 - MARGIN)


def _tile(algorithm: str) -> int | None:
    return None if algorithm == DIRECT else int(algorithm)


def _with_schedule(launch: Op, schedule: str) -> Op:
    if schedule == OWN:
        return launch
    return replace(launch, attrs=replace(launch.attrs, schedule=schedule))


def _key(question: Question, setting: AnySetting) -> str:
    return f"{setting.key}\n{question.text}"
