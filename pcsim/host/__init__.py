"""This machine: its cores, caches and memory, its threads, its MPI library and links."""
