"""The dashboard's server: reads the store and the files of the runs, answers in JSON, and never writes to either."""
