import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
# for `emulator`; for `harness` and `windows`, which build launches for every backend; for `cuda_harness`
for folder in (
    TESTS,
    TESTS / "backends" / "llvm",
    TESTS / "backends" / "llvm" / "lower",
    Path(__file__).parent,
):
    sys.path.append(str(folder))
