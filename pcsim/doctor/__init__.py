"""What this machine and installation can and cannot do."""
