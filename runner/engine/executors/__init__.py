"""Where steps are executed: ``local`` on this machine."""
