"""netc and PyTorch on this machine's GPU: forward passes and iterations of training, times and ratios.

python benchmarks/cuda_peers.py --json run.json            (needs CuPy, NVRTC and a PyTorch for CUDA)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from netc.bench.cases import Case
from netc.bench.engines.table import ENGINES, SUBJECT, peers
from netc.bench.measure import Measurement, Settings
from netc.bench.nets import REFERENCE_NETS
from netc.bench.process import EngineProcess, installed_packages
from netc.bench.tables import MISSING, agreement_table, markdown, ratios_table

TOLERANCE = 2e-2  # tf32 on both sides, in other orders


def main(
    arguments: Sequence[str],
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    start: Callable[..., EngineProcess] = EngineProcess,
) -> int:
    """Measure, and print the tables; 1 where netc did not run or was wrong."""
    args = _parser().parse_args(arguments)
    wanted = tuple(name for name in args.peers.split(",") if name)
    packages = installed_packages(args.peer_python) if wanted else frozenset()
    found = tuple(name for name in wanted if packages.issuperset(ENGINES[name].packages))
    for name in (name for name in wanted if name not in found):
        say(f"without {ENGINES[name].title}: {args.peer_python} has no {', '.join(ENGINES[name].packages)}")
    every: dict[str, list[Case]] = {}
    notes: dict[str, list[str]] = {}
    for train in (False, True):
        settings = Settings(
            nets=tuple(args.nets) or REFERENCE_NETS,
            batches=tuple(int(b) for b in args.batch.split(",")),
            threads=(1,),
            peers=found,
            seconds=args.seconds,
            rounds=args.rounds,
            tolerance=TOLERANCE,
            train=train,
            peer_python=args.peer_python,
            device="cuda",
        )
        with TemporaryDirectory() as folder:
            measurement = Measurement(settings, Path(folder), say, start)
            cases = measurement.run(lambda _: None)
        every["training" if train else "forward"] = cases
        notes |= measurement.notes
        print(f"\n## {'Iterations of training' if train else 'Forward passes'}, ms an image\n")
        print(_times(cases, settings.engines))
        print("\nA peer's time / netc's:\n")
        print(ratios_table(cases, settings.engines))
        print("\nOutputs:\n")
        print(agreement_table(cases, settings.engines))
    for error, where in notes.items():
        print(f"- {error} ({'; '.join(where)})")
    if args.json:
        data = {kind: [asdict(case) for case in cases] for kind, cases in every.items()}
        Path(args.json).write_text(json.dumps(data, indent=1))
    return 0 if all(case.ms(SUBJECT) is not None for cases in every.values() for case in cases) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets", nargs="*", help=f"of the zoo, or files; default: {' '.join(REFERENCE_NETS)}")
    parser.add_argument("--batch", default="1,16,128")
    names = ",".join((*peers(train=False, device="cuda"),))
    parser.add_argument("--peers", default=names, help="names with commas between, or nothing")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one engine in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write all rounds to this file")
    return parser


def _times(cases: Sequence[Case], engines: Sequence[str]) -> str:
    rows = []
    for case in cases:
        times = [case.ms(engine) for engine in engines]
        rows.append([case.net, str(case.batch), *(MISSING if t is None else f"{t:.4f}" for t in times)])
    return markdown(["net", "batch", *(ENGINES[e].title for e in engines)], rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
