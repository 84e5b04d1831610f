import sys
from pathlib import Path

# The tests count parameters with the benchmarks' reader, which shares no code with netc.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
