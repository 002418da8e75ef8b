"""`python -m flexkd_platform.cli`: the entry point on a cluster, where no script is installed."""

from . import main

raise SystemExit(main())
