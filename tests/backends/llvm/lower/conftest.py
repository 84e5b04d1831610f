import sys
from pathlib import Path

# for `harness`
sys.path.append(str(Path(__file__).parents[1]))
