"""`python -m tinygrad_lesson` is the command line."""

from __future__ import annotations

import sys

from tinygrad_lesson.cli import main

sys.exit(main())
