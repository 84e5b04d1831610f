import sys
from pathlib import Path

# the strategies that the tests of the whole IR use too
sys.path.append(str(Path(__file__).parents[1]))
