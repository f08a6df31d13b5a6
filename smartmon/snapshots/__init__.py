"""Copies of checkpoints that are worth keeping, and everything done to them. The only package that touches checkpoints.

A snapshot is a folder in the snapshots dir of a base dir. The folder on disk is the truth; the database has an index.
Entries of that dir whose names begin with a dot are our own unfinished business; anything else that we did not name
is somebody else's and is never touched. The trainer's folders are only ever read.
"""
