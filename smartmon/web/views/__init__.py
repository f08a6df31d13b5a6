"""From rows of the store and files of a run to what is answered: one module for each thing that is shown."""
