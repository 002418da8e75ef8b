"""`python -m flexkd_platform.cli`: what a cluster runs, where no script is installed."""

from . import main

raise SystemExit(main())
