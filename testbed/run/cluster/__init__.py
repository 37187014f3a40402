"""Runs on the hosts of a Dask cluster, one at a time on each.

campaign ── orders ──► Cluster ── one executor a host ──► scheduler ──► worker ──► `testbed run --exclusive`
    ◄── a whole run directory ──┘                                         └── ends the runner when it ends itself
"""
