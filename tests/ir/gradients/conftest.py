import sys
from pathlib import Path

# the cases of the ops, which the gradients are checked on
sys.path.append(str(Path(__file__).parents[1] / "ops"))
