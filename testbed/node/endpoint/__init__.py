"""A model that is somebody else's server, behind the run's companion on the host."""
