"""`python -m tinygrad_lesson` is the command line."""

import sys

from tinygrad_lesson.cli import main

sys.exit(main())
