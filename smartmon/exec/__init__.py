"""Runs any training command under watch: its output passed on and kept, its end noticed, its exit code returned.

It knows nothing of training: what it learns goes into the files that the daemon reads for everyone.
"""
